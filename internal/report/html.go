package report

import (
	_ "embed"
	"fmt"
	"html/template"
	"io"
	"slices"
	"strings"

	"github.com/docker/go-units"

	"github.com/checkpointctl/checkpointctl/internal/criuimg"
	"github.com/checkpointctl/checkpointctl/internal/snapshot"
)

//go:embed page.html
var pageText string

// share is a piece of a bar.
type share struct {
	Class   string // of CSS
	Percent float64
	Title   string
}

// page is what the template is given.
type page struct {
	*Document
	Title  string
	Kinds  []string
	Shares []share // of all memory
	Widest uint64  // bytes
}

// WriteHTML writes the document as a page that loads nothing and runs nothing. All that
// comes from the checkpoint is escaped.
func (d *Document) WriteHTML(w io.Writer) error {
	p := page{Document: d, Title: "Checkpoint", Kinds: []string{"anonymous", "heap", "stack", "file", "shared", "other"}}
	if d.Overview != nil {
		p.Title = "Checkpoint " + d.Overview.Name
		p.Shares = d.Overview.shares()
	}
	for _, m := range d.Maps {
		p.Widest = max(p.Widest, (m.Pages.Present+m.Pages.Parent)*criuimg.PageSize)
	}
	t, err := template.New("page").Funcs(template.FuncMap{
		"size":   amountText,
		"bytes":  func(n int64) string { return amountText(uint64(n)) },
		"pages":  func(n uint64) string { return amountText(n * criuimg.PageSize) },
		"indent": func(depth int) int { return 2 * min(depth, 20) },
		"shares": func(m ProcessMaps) []share { return m.shares(p.Widest) },
	}).Parse(pageText)
	if err != nil {
		return err
	}
	return t.Execute(w, p)
}

// amountText is a number of bytes; a dash for none.
func amountText(n uint64) string {
	if n == 0 {
		return "-"
	}
	return units.BytesSize(float64(n))
}

// class is the class that CSS has for memory of a kind.
func class(kind snapshot.Kind) string {
	switch kind {
	case snapshot.Anonymous, snapshot.Heap, snapshot.Stack, snapshot.File:
		return string(kind)
	case snapshot.SharedMap, snapshot.Shared, snapshot.SysV:
		return "shared"
	}
	return "other"
}

// shares are the kinds of the memory that is in images.
func (o *Overview) shares() []share {
	total := uint64(0)
	for _, a := range o.Memory {
		total += a.Images + a.Parent
	}
	var list []share
	for _, a := range o.Memory {
		if n := a.Images + a.Parent; n > 0 {
			list = append(list, share{class(a.Kind), percent(n, total), fmt.Sprintf("%s: %s", a.Kind, amountText(n))})
		}
	}
	return list
}

// shares are the mappings that have something in images, in the order of their
// addresses, those of one kind that follow each other as one.
func (m ProcessMaps) shares(widest uint64) []share {
	var list []share
	sum := uint64(0)
	var names []string
	for i, a := range m.Mappings {
		sum += (a.Pages.Present + a.Pages.Parent) * criuimg.PageSize
		if name := a.Name(); len(names) < 4 && !slices.Contains(names, name) {
			names = append(names, name)
		}
		if i+1 < len(m.Mappings) && class(m.Mappings[i+1].Kind) == class(a.Kind) {
			continue
		}
		if sum > 0 {
			list = append(list, share{class(a.Kind), percent(sum, widest), fmt.Sprintf("%s: %s", strings.Join(names, ", "), amountText(sum))})
		}
		sum, names = 0, nil
	}
	return list
}

func percent(n, of uint64) float64 { return 100 * float64(n) / float64(max(of, 1)) }
