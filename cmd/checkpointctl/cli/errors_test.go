package cli

import (
	"errors"
	"testing"
)

func TestOneLine(t *testing.T) {
	for text, want := range map[string]string{
		"plain": "plain",
		"unknown command \"lst\" for \"checkpointctl\"\n\nDid you mean this?\n\tlist\n": `unknown command "lst" for "checkpointctl"; Did you mean this?; list`,
		"unknown flag: --\x1b[31m\a": `unknown flag: --\x1b[31m\x07`,
		"a\tb\u0085c":                `a b\x85c`,
		"größer":                     "größer",
	} {
		if got := oneLine(errors.New(text)); got != want {
			t.Errorf("%q: %q, want %q", text, got, want)
		}
	}
}
