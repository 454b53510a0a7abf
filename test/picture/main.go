// Command picture draws the text of a terminal session, on stdin, as an SVG: see
// scripts/picture.sh. It needs no font, script or file beside it.
package main

import (
	"encoding/xml"
	"fmt"
	"io"
	"os"
	"strings"
	"unicode/utf8"
)

func main() {
	text, err := io.ReadAll(os.Stdin)
	if err == nil {
		_, err = io.WriteString(os.Stdout, picture(strings.Split(strings.TrimSuffix(string(text), "\n"), "\n")))
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "picture:", err)
		os.Exit(1)
	}
}

// In pixels.
const (
	charWidth  = 8
	lineHeight = 19
	margin     = 18
	titleBar   = 34
)

// prompt begins a line that was typed.
const prompt = "# "

// picture is an SVG of the lines, on a dark card. Each character has its place, whatever
// the font of the reader is.
func picture(lines []string) string {
	columns := 0
	for _, line := range lines {
		columns = max(columns, utf8.RuneCountInString(line))
	}
	width, height := columns*charWidth+2*margin, titleBar+len(lines)*lineHeight+margin
	var b strings.Builder
	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" width="%d" height="%d" viewBox="0 0 %d %d" font-family="ui-monospace, SFMono-Regular, Menlo, Consolas, 'DejaVu Sans Mono', monospace" font-size="13" fill="#d6deeb">
<title>A terminal session with checkpointctl</title>
<rect width="100%%" height="100%%" rx="9" fill="#0d1520"/>
`, width, height, width, height)
	for i, colour := range [...]string{"#ff5f57", "#febc2e", "#28c840"} {
		fmt.Fprintf(&b, `<circle cx="%d" cy="18" r="6" fill="%s"/>`+"\n", margin+6+20*i, colour)
	}
	for i, line := range lines {
		attributes := ""
		if strings.HasPrefix(line, prompt) {
			attributes = ` fill="#7fdbca" font-weight="bold"`
		}
		n := utf8.RuneCountInString(line)
		if n == 0 {
			continue
		}
		fmt.Fprintf(&b, `<text x="%d" y="%d" textLength="%d"%s xml:space="preserve">`, margin, titleBar+(i+1)*lineHeight-5, n*charWidth, attributes)
		_ = xml.EscapeText(&b, []byte(line)) // a strings.Builder takes all
		b.WriteString("</text>\n")
	}
	b.WriteString("</svg>\n")
	return b.String()
}
