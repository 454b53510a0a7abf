package report

import (
	"embed"
	"fmt"
	"html/template"
	"io"
	"reflect"
	"strings"

	"github.com/docker/go-units"

	"github.com/checkpointctl/checkpointctl/internal/criuimg"
)

//go:embed *.html
var pages embed.FS

// maxRows is how many rows a section of a page has, whatever the checkpoint holds: more
// make browsers slow.
const maxRows = 10000

// share is a piece of a bar.
type share struct {
	Class   string // of CSS
	Percent float64
	Title   string
}

// rows are those of a list that are on the page.
type rows struct {
	Rows any
	More int // how many others there are
}

// few are the first of a list.
func few(list any, most int) rows {
	v := reflect.ValueOf(list)
	n := min(v.Len(), most)
	return rows{v.Slice(0, n).Interface(), v.Len() - n}
}

// writePage writes a page of this name. It loads nothing and runs nothing. All texts
// are escaped, and what would change the order of others is shown, not obeyed.
func writePage(w io.Writer, name string, funcs template.FuncMap, data any) error {
	t, err := template.New(name).Funcs(template.FuncMap{
		"size":   amountText,
		"bytes":  func(n int64) string { return amountText(uint64(n)) },
		"pages":  func(n uint64) string { return amountText(n * criuimg.PageSize) },
		"amount": func(n uint64) string { return units.BytesSize(float64(n * criuimg.PageSize)) },
		"count":  count,
		"cut":    cut,
		"few":    func(list any) rows { return few(list, maxRows) },
	}).Funcs(funcs).ParseFS(pages, "page.html", name)
	if err != nil {
		return err
	}
	return t.Execute(visible{w}, data)
}

// section is one that the page links to.
type section struct{ Anchor, Title string }

func count(n int, one, more string) string {
	if n == 1 {
		more = one
	}
	return fmt.Sprintf("%d %s", n, more)
}

// maxCell is how much of a text is on the page, in bytes.
const maxCell = 4096

func cut(text string) string {
	if len(text) <= maxCell {
		return text
	}
	return fmt.Sprintf("%s ... (%d bytes)", strings.ToValidUTF8(text[:maxCell], ""), len(text))
}

// amountText is a number of bytes; a dash for none.
func amountText(n uint64) string {
	if n == 0 {
		return "-"
	}
	return units.BytesSize(float64(n))
}

func percent(n, of uint64) float64 { return 100 * float64(n) / float64(max(of, 1)) }
