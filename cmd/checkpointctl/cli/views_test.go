package cli

import "testing"

func TestShown(t *testing.T) {
	for text, want := range map[string]string{
		"/srv/a b":            "/srv/a b",
		"naïve ✓":             "naïve ✓",
		"\x1b[31mred\n\ttab":  `\x1b[31mred\x0a\x09tab`,
		"half \xe2\x9c":       `half \xe2\x9c`,
		"order\u202egnp.exe":  `order\u202egnp.exe`,
		"eight bits\u009b31m": `eight bits\u009b31m`,
	} {
		if got := shown(text); got != want {
			t.Errorf("%q is shown as %q, want %q", text, got, want)
		}
	}
}
