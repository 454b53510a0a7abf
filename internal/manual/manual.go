// Package manual makes manual pages of documents that exist for other readers already.
package manual

import (
	"bytes"
	"fmt"
	"regexp"
	"strings"

	"github.com/cpuguy83/go-md2man/v2/md2man"
)

// Page is a manual page. Text is Markdown with a title, which the page leaves out.
type Page struct {
	Name, Summary string
	Section       int
	SeeAlso       string // as in checkpointctl(8)
	Text          []byte
}

// File is the name that man(1) looks for.
func (p Page) File() string { return fmt.Sprintf("%s.%d", p.Name, p.Section) }

var (
	title    = regexp.MustCompile(`(?m)\A# .*\n`)
	headings = regexp.MustCompile(`(?m)^#(#+ )`)
)

// Render returns the page in the format of man(7). source is the program and its
// version.
func (p Page) Render(source string) []byte {
	var b bytes.Buffer
	fmt.Fprintf(&b, "%% %s %d \"\" %q checkpointctl\n\n", strings.ToUpper(p.Name), p.Section, source)
	fmt.Fprintf(&b, "# NAME\n\n%s - %s\n\n# DESCRIPTION\n", p.Name, p.Summary)
	b.Write(headings.ReplaceAll(title.ReplaceAll(p.Text, nil), []byte("$1")))
	fmt.Fprintf(&b, "\n# SEE ALSO\n\n%s\n", p.SeeAlso)
	return md2man.Render(b.Bytes())
}
