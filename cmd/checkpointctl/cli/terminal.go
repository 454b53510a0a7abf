package cli

import (
	"fmt"
	"io"
	"os"

	"golang.org/x/term"
)

// terminal shows control characters instead of obeying them: who chose the
// names of files, labels and mounts, which CRIU and Docker hand on, may not
// steer the terminal of who reads them.
type terminal struct {
	io.Writer
	show *display // at its bottom
}

// onTerminal returns out, or a terminal if it is one.
func onTerminal(out io.Writer, show *display) io.Writer {
	if f, ok := out.(*os.File); ok && term.IsTerminal(int(f.Fd())) {
		return terminal{f, show}
	}
	return out
}

func (t terminal) Write(text []byte) (int, error) {
	if err := t.show.print(t.Writer, visible(text)); err != nil {
		return 0, err
	}
	return len(text), nil
}

// visible returns the text with control characters spelled out.
func visible(text []byte) []byte {
	shown := make([]byte, 0, len(text))
	for i, b := range text {
		switch {
		case b == '\n' || b == '\t':
			shown = append(shown, b)
		case b < ' ' || b == 0x7f:
			shown = fmt.Appendf(shown, `\x%02x`, b)
		case b >= 0x80 && b < 0xa0 && i > 0 && text[i-1] == 0xc2: // U+0080 to U+009F
			shown = fmt.Appendf(shown[:len(shown)-1], `\u%04x`, b)
		default:
			shown = append(shown, b)
		}
	}
	return shown
}
