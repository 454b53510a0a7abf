package report

import (
	"strings"
	"testing"
)

func TestText(t *testing.T) {
	for text, want := range map[string]string{
		"/srv/a b":            "/srv/a b",
		"naïve ✓":             "naïve ✓",
		"\x1b[31mred\n\ttab":  `\x1b[31mred\x0a\x09tab`,
		"half \xe2\x9c":       `half \xe2\x9c`,
		"order\u202egnp.exe":  `order\u202egnp.exe`,
		"eight bits\u009b31m": `eight bits\u009b31m`,
	} {
		if got := Text(text); got != want {
			t.Errorf("%q is shown as %q, want %q", text, got, want)
		}
	}
}

// A page has many lines, of which each is shown so.
func TestVisible(t *testing.T) {
	var b strings.Builder
	n, err := visible{&b}.Write([]byte("a\x1b\n\nb\u202e"))
	if want := "a\\x1b\n\nb\\u202e"; b.String() != want || n != 8 || err != nil {
		t.Errorf("%q, %d, %v", b.String(), n, err)
	}
}
