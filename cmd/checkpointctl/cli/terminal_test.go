package cli

import (
	"bytes"
	"testing"
)

func TestTerminalIsNotSteered(t *testing.T) {
	var b bytes.Buffer
	const text = "a\tb\r\x1b]0;title\a \u009b2J \x7f Grüße…\n"
	n, err := terminal{&b, newDisplay(&b)}.Write([]byte(text))
	if want := `a	b\x0d\x1b]0;title\x07 \u009b2J \x7f Grüße…` + "\n"; b.String() != want || n != len(text) || err != nil {
		t.Errorf("%q, %d, %v", b.String(), n, err)
	}
	if onTerminal(&b, newDisplay(&b)) != &b {
		t.Error("a buffer is no terminal")
	}
}
