package cli

import (
	"errors"
	"testing"
)

func TestOneLine(t *testing.T) {
	for text, want := range map[string]string{
		"plain":                         "plain",
		"one line\n\nanother\n\tlast\n": `one line; another; last`,
		"unknown flag: --\x1b[31m\a":    `unknown flag: --\x1b[31m\x07`,
		"a\tb\u0085c":                   `a b\x85c`,
		"größer":                        "größer",
	} {
		if got := oneLine(errors.New(text)); got != want {
			t.Errorf("%q: %q, want %q", text, got, want)
		}
	}
}
