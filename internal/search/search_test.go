package search

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/checkpointctl/checkpointctl/internal/criuimg"
	"github.com/checkpointctl/checkpointctl/internal/criuimg/criuimgtest"
	"github.com/checkpointctl/checkpointctl/internal/snapshot"
)

func read(t testing.TB, s criuimgtest.Sample) *snapshot.Snapshot {
	t.Helper()
	dir, parent := s.Write(t)
	chain := criuimg.Chain{criuimg.Dir(dir)}
	if parent != "" {
		chain = append(chain, criuimg.Dir(parent))
	}
	got, err := snapshot.Read(chain)
	if err != nil {
		t.Fatal(err)
	}
	return got
}

func pattern(t testing.TB, p Pattern, err error) Pattern {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// search returns the matches, a line for each.
func search(t testing.TB, s *snapshot.Snapshot, r Request) []string {
	t.Helper()
	var list []string
	r.Found = func(m Match) error {
		list = append(list, fmt.Sprintf("%v %s %x %q", m.PIDs, m.Mapping, m.Address, slices.Concat(m.Before, []byte("<"), m.Bytes, []byte(">"), m.After)))
		return nil
	}
	if _, err := Run(t.Context(), s, r); err != nil {
		t.Fatal(err)
	}
	return list
}

const needle = "needle in memory"

// heap has the needle across the border of a page of a parent and one of its own, and
// at the end of the last page.
func heap() []byte {
	data := bytes.Repeat([]byte{'.'}, 3*criuimgtest.PageSize)
	copy(data[criuimgtest.PageSize-6:], needle)
	copy(data[len(data)-len(needle):], needle)
	return data
}

func sample() criuimgtest.Sample {
	return criuimgtest.Sample{Name: "app", Args: []string{"app", needle}, Heap: heap(), Old: 1, Shared: []byte("--" + needle + "--")}
}

func TestRun(t *testing.T) {
	s := read(t, sample())
	literal, err := Literal(needle)
	got := search(t, s, Request{Pattern: pattern(t, literal, err), Context: 2})
	want := []string{
		`[1] [heap] 10ffa "..<needle in memory>.."`,
		`[1] [heap] 12ff0 "..<needle in memory>"`,
		`[1] [stack] 7f0000000004 "p\x00<needle in memory>\x00\x00"`,
		`[1 5] [shared] 7e0000000002 "--<needle in memory>--"`,
	}
	if !slices.Equal(got, want) {
		t.Errorf("got %q", got)
	}
	re, err := Regexp(`n[e]+dle.in m\w+y`)
	if got := search(t, s, Request{Pattern: pattern(t, re, err), Context: 2}); !slices.Equal(got, want) {
		t.Errorf("by a regular expression: %q", got)
	}
	if got := search(t, s, Request{Pattern: literal, PID: 5}); len(got) != 1 || !strings.HasPrefix(got[0], "[1 5] ") {
		t.Errorf("of process 5: %q", got)
	}
}

func TestPatterns(t *testing.T) {
	s := criuimgtest.Sample{Name: "app", Heap: []byte("..h\x00\xe9\x00l\x00..\xde\xad\xbe\xef..")}
	hexed, err := Hex("DE ad beEF")
	if got := search(t, read(t, s), Request{Pattern: pattern(t, hexed, err)}); len(got) != 1 {
		t.Errorf("%q", got)
	}
	wide, err := UTF16("hél")
	if got := search(t, read(t, s), Request{Pattern: pattern(t, wide, err)}); len(got) != 1 {
		t.Errorf("%q", got)
	}
	for _, err := range []error{second(Hex("xy")), second(Hex("")), second(Literal("")), second(Regexp("a*")), second(Regexp("(")), second(Literal(strings.Repeat("a", maxLiteral+1)))} {
		if !errors.Is(err, ErrPattern) {
			t.Error(err)
		}
	}
}

func second(_ Pattern, err error) error { return err }

// Pages of a parent that is not there are told, and the rest is searched.
func TestMissing(t *testing.T) {
	dir, _ := sample().Write(t)
	s, err := snapshot.Read(criuimg.Chain{criuimg.Dir(dir)})
	if err != nil {
		t.Fatal(err)
	}
	p, err := Literal(needle)
	n := 0
	got, runErr := Run(t.Context(), s, Request{Pattern: pattern(t, p, err), Found: func(Match) error { n++; return nil }})
	if runErr != nil || got.Missing != criuimgtest.PageSize || n != 3 {
		t.Errorf("%d matches, %+v, %v", n, got, runErr)
	}
	stop := errors.New("enough")
	if _, err := Run(t.Context(), s, Request{Pattern: p, Found: func(Match) error { return stop }}); !errors.Is(err, stop) {
		t.Error(err)
	}
}

// Whatever the sizes of runs and windows, the same is found as in one piece.
func TestScanFindsWhatIsThere(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	data := make([]byte, 3*window)
	for i := range data {
		data[i] = "ab"[random.IntN(2)]
	}
	text := "abbabaabbaababba"
	want := len(regexp.MustCompile(text).FindAllIndex(data, -1))
	if want == 0 {
		t.Fatal("it is not in there")
	}
	for _, at := range []int{window, 2 * window, window + 2*(len(text)+3)} {
		copy(data[at-5:], text)
	}
	want = len(regexp.MustCompile(text).FindAllIndex(data, -1))
	s := read(t, criuimgtest.Sample{Name: "app", Heap: data})
	p, err := Literal(text)
	list := search(t, s, Request{Pattern: pattern(t, p, err), Context: 3})
	if len(list) != want {
		t.Errorf("%d matches, want %d", len(list), want)
	}
	for _, line := range list {
		if !strings.Contains(line, "<"+text+">") {
			t.Errorf("%s", line)
		}
	}
}

// Whatever the pattern, it is refused, or only what it matches is found.
func FuzzRegexp(f *testing.F) {
	s := read(f, sample())
	f.Add(`n[e]+dle`)
	f.Add(`\b`)
	f.Fuzz(func(t *testing.T, text string) {
		p, err := Regexp(text)
		if err != nil {
			return
		}
		_, err = Run(t.Context(), s, Request{Pattern: p, Context: 4, Found: func(m Match) error {
			if len(m.Bytes) == 0 {
				t.Error("an empty match")
			}
			return nil
		}})
		if err != nil {
			t.Error(err)
		}
	})
}

func BenchmarkLiteral(b *testing.B) {
	data := make([]byte, 64<<20)
	for i := 0; i < len(data); i += 8 {
		data[i] = byte(i >> 12)
	}
	s := read(b, criuimgtest.Sample{Name: "app", Heap: data})
	p, err := Literal("AWS_SECRET_ACCESS_KEY")
	b.SetBytes(int64(len(data)))
	for b.Loop() {
		if _, err := Run(b.Context(), s, Request{Pattern: pattern(b, p, err), Context: 16}); err != nil {
			b.Fatal(err)
		}
	}
}
