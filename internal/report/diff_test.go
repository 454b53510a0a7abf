package report

import (
	"bytes"
	"strings"
	"testing"

	"github.com/checkpointctl/checkpointctl/internal/compare"
	"github.com/checkpointctl/checkpointctl/internal/criuimg/criuimgtest"
)

func TestWriteDiff(t *testing.T) {
	after := sample()
	after.Args, after.Env = []string{"/bin/app", "--password=hunter3", hostile}, []string{"HOME=/root", "API_TOKEN=hunter3", hostile + "=1"}
	after.Heap, after.Port = append(make([]byte, 2*criuimgtest.PageSize), "new"...), 81
	from, _ := sample().Write(t)
	to, _ := after.Write(t)
	r, err := compare.Run(t.Context(), open(t, from), open(t, to), false)
	if err != nil {
		t.Fatal(err)
	}
	r.B, r.Memory[0].Name = hostile, hostile
	var out bytes.Buffer
	if err := WriteDiff(&out, r); err != nil {
		t.Fatal(err)
	}
	text := out.String()
	wellFormed(t, text)
	if n := strings.Count(text, "&lt;script&gt;"); n < 5 {
		t.Errorf("the text is there %d times", n)
	}
	for _, want := range []string{
		`<b>1 app</b> <span class="dim">8KiB changed,`, `<tr><th>Environments</th><td>1 new, 2 changed</td></tr>`, `<td>1 app</td><td class="changed">changed</td>`,
		`HOME`, `/root`, `(hidden)`, `172.17.0.2:81`, `<td>not compared: not both`, `<a href="#environments">Environments</a>`, `<h2 id="environments">`,
	} {
		if !strings.Contains(text, want) {
			t.Errorf("the page has no %s", want)
		}
	}
	if strings.Contains(text, "hunter") || strings.Contains(text, "othing differs") {
		t.Error("a secret is shown, or nothing differs")
	}
}

func TestWriteDiffOfTheSame(t *testing.T) {
	dir, _ := sample().Write(t)
	r, err := compare.Run(t.Context(), open(t, dir), open(t, dir), false)
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	if err := WriteDiff(&out, r); err != nil || !strings.Contains(out.String(), "<p>Nothing else differs.</p>") || strings.Contains(out.String(), "<h2") {
		t.Errorf("%s, %v", out.String(), err)
	}
}
