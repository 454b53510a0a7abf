package report

import (
	"fmt"
	"io"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Text is a text on one line. Control characters, and those that change the order of
// what is around them, are shown, not obeyed, wherever it is printed to: processes
// chose it.
func Text(text string) string {
	var b strings.Builder
	show(&b, text)
	return b.String()
}

func show(b *strings.Builder, text string) {
	for i := 0; i < len(text); {
		r, n := utf8.DecodeRuneInString(text[i:])
		switch {
		case r == utf8.RuneError && n == 1, r < utf8.RuneSelf && !unicode.IsPrint(r):
			fmt.Fprintf(b, `\x%02x`, text[i])
		case !unicode.IsPrint(r):
			fmt.Fprintf(b, `\u%04x`, r)
		default:
			b.WriteString(text[i : i+n])
		}
		i += n
	}
}

// visible writes text of which each line is shown as Text shows it.
type visible struct{ io.Writer }

func (v visible) Write(text []byte) (int, error) {
	var b strings.Builder
	for line := range strings.Lines(string(text)) {
		line, end := strings.CutSuffix(line, "\n")
		show(&b, line)
		if end {
			b.WriteByte('\n')
		}
	}
	if _, err := io.WriteString(v.Writer, b.String()); err != nil {
		return 0, err
	}
	return len(text), nil
}
