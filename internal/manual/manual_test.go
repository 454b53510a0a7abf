package manual

import (
	"strings"
	"testing"

	"github.com/checkpointctl/checkpointctl/configs"
	"github.com/checkpointctl/checkpointctl/docs"
)

func TestSettings(t *testing.T) {
	text, err := Settings([]byte(`# for editors
# Every setting. It has
# two lines.

# Where it is.
dir: /var/lib/x
# About a_b.
a_b:
  # A list; as in [x].
  #   - {path: /mnt/*}
  rules: []
`))
	if err != nil {
		t.Fatal(err)
	}
	const want = `# Settings

Every setting. It has two lines.

## SETTINGS

**dir** (default: /var/lib/x)
: Where it is.

### a_b

About a\_b.

**a\_b.rules** (default: \[])
: A list; as in \[x].

For example:

` + "```\n  - {path: /mnt/*}\n```\n\n"
	if string(text) != want {
		t.Errorf("got\n%s\nwant\n%s", text, want)
	}
}

func TestSettingsWithoutComment(t *testing.T) {
	_, err := Settings([]byte("# for editors\n# All.\n\n# One.\na: 1\nb: {c: 2}\n"))
	if err == nil || !strings.Contains(err.Error(), "line 6: b.c has no comment") {
		t.Errorf("got %v", err)
	}
	if _, err := Settings([]byte("- a\n")); err == nil {
		t.Error("a list has no keys")
	}
}

func TestRender(t *testing.T) {
	settings, err := Settings(configs.Example)
	if err != nil {
		t.Fatal(err)
	}
	for name, test := range map[string]struct {
		text []byte
		want []string
	}{
		"settings": {settings, []string{"\\fBcriu.path\\fP (default: criu)", ".SH SETTINGS", "name: nightly"}},
		"concepts": {docs.Concepts, []string{".SH Checkpoint", "\\fBcheckpoint\\fP"}},
	} {
		t.Run(name, func(t *testing.T) {
			page := Page{Name: "a-page", Summary: "a summary", Section: 7, SeeAlso: "**b(8)**", Text: test.text}
			if page.File() != "a-page.7" {
				t.Errorf("file %s", page.File())
			}
			got := string(page.Render("checkpointctl 1.2"))
			for _, want := range append(test.want, `.TH A-PAGE 7 "" "checkpointctl 1.2" checkpointctl`, "a-page \\- a summary", ".SH SEE ALSO\n\\fBb(8)\\fP") {
				if !strings.Contains(got, want) {
					t.Errorf("no %q", want)
				}
			}
			if strings.Contains(got, "**") {
				t.Error("Markdown is left")
			}
		})
	}
}
