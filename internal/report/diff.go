package report

import (
	"cmp"
	"fmt"
	"html/template"
	"io"
	"strings"

	"github.com/checkpointctl/checkpointctl/internal/compare"
	"github.com/checkpointctl/checkpointctl/internal/criuimg"
)

// diffPage is what the template is given.
type diffPage struct {
	*compare.Result
	Title    string
	Sections []section
	Parts    []diffPart
	Pages    string // what became of all pages
	Kinds    []string
	Memory   []diffMemory // hides that of the result
	Widest   uint64       // pages
}

// diffPart are the differences of one kind.
type diffPart struct {
	Title, Column string
	List          []compare.Difference
	Processes     bool   // whose it is, is told
	Unknown       string // why they are not compared; empty if they are
}

// Anchor is that of the part's section.
func (p diffPart) Anchor() string { return strings.ToLower(p.Title) }

// Summary is how many there are of each change.
func (p diffPart) Summary() string {
	count := map[string]int{}
	for _, d := range p.List {
		count[d.Change]++
	}
	var list []string
	for _, change := range []string{compare.New, compare.Gone, compare.Changed} {
		if n := count[change]; n > 0 {
			list = append(list, fmt.Sprintf("%d %s", n, change))
		}
	}
	if len(list) == 0 {
		return cmp.Or(p.Unknown, "as before")
	}
	return strings.Join(list, ", ")
}

// diffMemory are the mappings of a process in which something differs.
type diffMemory struct {
	Title    string
	Mappings []compare.Memory
	sum      compare.Memory
	widest   *uint64
}

// Summary is what became of the pages.
func (m diffMemory) Summary() string { return pagesText(m.sum) }

// Shares are what became of the pages, as pieces of a bar.
func (m diffMemory) Shares() []share {
	var list []share
	for _, s := range []struct {
		class string
		pages uint64
	}{{"added", m.sum.Added}, {"removed", m.sum.Removed}, {"changed", m.sum.Changed}, {"same", m.sum.Same}, {"unknown", m.sum.Unknown}} {
		if s.pages > 0 {
			list = append(list, share{s.class, percent(s.pages, *m.widest), s.class + ": " + amountText(s.pages*criuimg.PageSize)})
		}
	}
	return list
}

func pagesText(m compare.Memory) string {
	var list []string
	for _, s := range []struct {
		pages uint64
		what  string
	}{{m.Added, "added"}, {m.Removed, "removed"}, {m.Changed, "changed"}, {m.Same, "the same"}, {m.Unknown, "unknown"}} {
		if s.pages > 0 {
			list = append(list, amountText(s.pages*criuimg.PageSize)+" "+s.what)
		}
	}
	if list == nil {
		return "no pages"
	}
	return strings.Join(list, ", ")
}

// WriteDiff writes what differs as a page that loads nothing and runs nothing. All that
// comes from the checkpoints is escaped.
func WriteDiff(w io.Writer, r *compare.Result) error {
	p := diffPage{Result: r, Title: fmt.Sprintf("From %s to %s", r.A, r.B), Kinds: []string{"added", "removed", "changed", "same", "unknown"}, Parts: []diffPart{
		{"Processes", "PID", r.Processes, false, ""}, {"Descriptors", "Descriptor", r.FDs, true, ""}, {"Sockets", "Socket", r.Sockets, false, ""},
		{"Environments", "Variable", r.Env, true, ""}, {"Files", "File", r.Files, false, ""},
	}}
	if !r.FilesCompared {
		p.Parts[len(p.Parts)-1].Unknown = "not compared: not both checkpoints have those of the writable layer, unencrypted"
	}
	for _, part := range p.Parts {
		if len(part.List) > 0 {
			p.Sections = append(p.Sections, section{part.Anchor(), part.Title})
		}
	}
	process := func(pid uint32) string { return fmt.Sprintf("%d %s", pid, r.Names[pid]) }
	var all compare.Memory
	for _, m := range r.Memory {
		all.Add(m)
		if !m.Differs() && m.Unknown == 0 {
			continue
		}
		title := process(m.PID)
		if m.Shared {
			title = "shared memory"
		}
		if n := len(p.Memory); n == 0 || p.Memory[n-1].Title != title {
			p.Memory = append(p.Memory, diffMemory{Title: title, widest: &p.Widest})
		}
		last := &p.Memory[len(p.Memory)-1]
		last.Mappings = append(last.Mappings, m)
		last.sum.Add(m)
		p.Widest = max(p.Widest, last.sum.Pages())
	}
	p.Pages = pagesText(all)
	if p.Memory != nil {
		p.Sections = append(p.Sections, section{"memory", "Memory"})
	}
	most := max(minRows, maxRows/max(1, len(p.Memory)))
	return writePage(w, "diff.html", template.FuncMap{
		"process": process,
		"part":    func(list any) rows { return few(list, most) },
	}, p)
}
