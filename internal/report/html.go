package report

import (
	"cmp"
	"fmt"
	"html/template"
	"io"
	"slices"
	"strings"

	"github.com/checkpointctl/checkpointctl/internal/criuimg"
	"github.com/checkpointctl/checkpointctl/internal/snapshot"
)

// documentPage is what the template is given.
type documentPage struct {
	*Document
	Title    string
	Sections []section
	Kinds    []string
	Shares   []share // of all memory
	Widest   uint64  // bytes
}

// minRows is how many rows every process may have on a page.
const minRows = 16

// WriteHTML writes the document as a page that loads nothing and runs nothing. All that
// comes from the checkpoint is escaped.
func (d *Document) WriteHTML(w io.Writer) error {
	p := documentPage{Document: d, Title: "Checkpoint", Kinds: []string{"anonymous", "heap", "stack", "file", "shared", "other"}}
	if d.Overview != nil {
		p.Title = "Checkpoint " + d.Overview.Name
		p.Shares = d.Overview.shares()
	}
	for _, m := range d.Maps {
		p.Widest = max(p.Widest, (m.Pages.Present+m.Pages.Parent)*criuimg.PageSize)
	}
	p.Sections = d.sections()
	most := max(minRows, maxRows/max(1, len(d.Processes), len(d.Maps), len(d.FDs), len(d.Env)))
	return writePage(w, "document.html", template.FuncMap{
		"indent":  func(depth int) int { return 2 * min(depth, 20) },
		"shares":  func(m ProcessMaps) []share { return m.shares(p.Widest) },
		"part":    func(list any) rows { return few(list, most) },
		"command": func(p Process) string { return cut(p.Command()) },
		"largest": func(list []Mapping) rows { return largest(list, most) },
	}, p)
}

// sections are the parts that have something to show. One alone needs no links.
func (d *Document) sections() []section {
	var list []section
	for _, s := range []struct {
		section
		there bool
	}{
		{section{"memory", "Memory"}, d.Overview != nil}, {section{"processes", "Processes"}, len(d.Processes) > 0}, {section{"maps", "Memory maps"}, len(d.Maps) > 0},
		{section{"sockets", "Sockets"}, len(d.Sockets) > 0}, {section{"fds", "Open files"}, len(d.FDs) > 0}, {section{"mounts", "Mounts"}, len(d.Mounts) > 0},
		{section{"env", "Environments"}, len(d.Env) > 0},
	} {
		if s.there {
			list = append(list, s.section)
		}
	}
	if len(list) < 2 {
		return nil
	}
	return list
}

// largest are the mappings with most in images, in the order of their addresses.
func largest(list []Mapping, most int) rows {
	if len(list) <= most {
		return rows{Rows: list}
	}
	index := make([]int, len(list))
	for i := range index {
		index[i] = i
	}
	held := func(i int) uint64 { return list[i].Pages.Present + list[i].Pages.Parent + list[i].Pages.Missing }
	slices.SortStableFunc(index, func(a, b int) int { return cmp.Compare(held(b), held(a)) })
	index = index[:most]
	slices.Sort(index)
	kept := make([]Mapping, 0, most)
	for _, i := range index {
		kept = append(kept, list[i])
	}
	return rows{kept, len(list) - most}
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
