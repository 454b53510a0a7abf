package cli

import (
	"bytes"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/checkpointctl/checkpointctl/internal/metadata"
)

func TestListFits(t *testing.T) {
	long := metadata.Summary{
		Name: "shop-payment-gateway-frontend-1", Checkpoint: "nightly-20260102T150405Z", Kind: metadata.KindCheckpoint, Rounds: 12,
		Parent: "nightly-20260101T150405Z", Image: "registry.example.com:5000/team/shop/payment-gateway:2026.01.02-gabcdef", SizeBytes: 1_234_567_890,
		FrozenUS: 123_456, Timestamp: time.Now().Add(-70 * time.Second),
	}
	plain := metadata.Summary{Name: "web", Checkpoint: "checkpoint1", Kind: metadata.KindCheckpoint, Image: "nginx:1.27", Timestamp: time.Now()}
	for name, test := range map[string]struct {
		list []metadata.Summary
		has  []string
	}{
		"long":  {[]metadata.Summary{long, plain}, []string{"registry.…", "nightly-2026", "123ms", "About a minute ago", "checkpoint1", "nginx:1.27"}},
		"short": {[]metadata.Summary{plain}, []string{"web         checkpoint1   checkpoint   nginx:1.27   Less than a second ago   0B     0s"}},
	} {
		t.Run(name, func(t *testing.T) {
			rows := listRows(test.list, func(metadata.Summary) *fetch { return nil }, false)
			var out bytes.Buffer
			if err := printRows(&out, rows); err != nil {
				t.Fatal(err)
			}
			for line := range strings.Lines(out.String()) {
				if n := utf8.RuneCountInString(strings.TrimSuffix(line, "\n")); n > listWidth {
					t.Errorf("%d columns: %s", n, line)
				}
			}
			for _, want := range test.has {
				if !strings.Contains(out.String(), want) {
					t.Errorf("no %q in\n%s", want, out.String())
				}
			}
		})
	}
	full := listRows([]metadata.Summary{long}, func(metadata.Summary) *fetch { return nil }, true)
	if text := strings.Join(full[1], " "); !strings.Contains(text, long.Image) || !strings.Contains(text, long.Name) || !strings.Contains(text, long.Parent) {
		t.Errorf("in full: %s", text)
	}
}

func TestFit(t *testing.T) {
	rows := [][]string{{"A", "B", "C"}, {"ääääääääääääääää", "bbbbbbbbbbbb", "c"}}
	fit(rows, 30, []int{1}, []int{0})
	if got := strings.Join(rows[1], " "); got != strings.Repeat("ä", 12)+"… bbbbbbbbb… c" {
		t.Errorf("got %q", got)
	}
	fit(nil, 10, []int{0})
	// What cannot fit is cut as far as it may be.
	rows = [][]string{{"aaaaaaaaaaaaaaaaaaaa", "bbbbbbbbbbbbbbbb"}}
	fit(rows, 5, []int{0})
	if got := strings.Join(rows[0], " "); got != "aaaaaaaaa… bbbbbbbbbbbbbbbb" {
		t.Errorf("got %q", got)
	}
}
