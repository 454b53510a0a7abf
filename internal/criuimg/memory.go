package criuimg

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"sort"
)

// PageSize is that of the pages in images, in bytes.
const PageSize = 4096

// Chain are the images of a dump, and behind them those of the dumps that it
// continues, newest first. Pages that did not change since lie there.
type Chain []fs.FS

// Run are pages that follow each other in memory, and in an image.
type Run struct {
	Start, End uint64 // addresses in bytes; in shared memory, offsets
	// Link is the index of the images of the chain that have the pages; -1 if the
	// pagemaps name pages that none has.
	Link   int
	offset int64 // in the pages image
}

// Memory are the pages of a process, or of a piece of shared memory, that a dump has.
// Pages that are in no image have never been written to, or are those of a file.
type Memory struct {
	Runs  []Run // in order
	pages []*pagesImage
}

// pagesImage is where the pages of one link of the chain are.
type pagesImage struct {
	file fs.File
	io.ReaderAt
}

// OpenMemory reads the pagemaps of this name, as pagemap-1.img. It is to be closed.
// The error is fs.ErrNotExist if the dump has no such image.
func OpenMemory(chain Chain, name string) (*Memory, error) {
	m := &Memory{pages: make([]*pagesImage, len(chain))}
	if len(chain) == 0 {
		return nil, fs.ErrNotExist
	}
	var below []Run
	for link := len(chain) - 1; link >= 0; link-- {
		spans, id, err := readPagemap(chain[link], name)
		if errors.Is(err, fs.ErrNotExist) && link > 0 {
			below = nil // it did not live then
			continue
		}
		if err == nil {
			below, err = m.overlay(spans, below, link)
		}
		if err == nil && len(spans) > 0 {
			err = m.open(chain[link], link, id)
		}
		if err != nil {
			return nil, errors.Join(err, m.Close())
		}
	}
	m.Runs = below
	return m, nil
}

// overlay returns the runs of a link, some of which are those below it.
func (m *Memory) overlay(spans []span, below []Run, link int) ([]Run, error) {
	runs := make([]Run, 0, len(spans))
	offset := int64(0)
	for _, s := range spans {
		switch {
		case s.flags&pageInParent != 0:
			for _, r := range cut(below, s.start, s.end) {
				runs = attach(runs, r)
			}
		case s.flags&pagePresent != 0:
			runs = attach(runs, Run{s.start, s.end, link, offset})
			offset += int64(s.end - s.start)
		default:
			runs = attach(runs, Run{Start: s.start, End: s.end, Link: -1})
		}
		if len(runs) > maxRuns {
			return nil, fmt.Errorf("memory is in more than %d pieces", maxRuns)
		}
	}
	return runs, nil
}

// attach appends a run, or makes the last one longer.
func attach(runs []Run, r Run) []Run {
	if n := len(runs); n > 0 {
		last := &runs[n-1]
		if last.End == r.Start && last.Link == r.Link && (r.Link < 0 || last.offset+int64(last.End-last.Start) == r.offset) {
			last.End = r.End
			return runs
		}
	}
	return append(runs, r)
}

// cut returns what runs have from start to end. What they do not have is a run of no
// link.
func cut(runs []Run, start, end uint64) []Run {
	var list []Run
	for _, r := range within(runs, start, end) {
		if r.Start > start {
			list = append(list, Run{Start: start, End: r.Start, Link: -1})
		}
		list = append(list, r)
		start = r.End
	}
	if start < end {
		list = append(list, Run{Start: start, End: end, Link: -1})
	}
	return list
}

func within(runs []Run, start, end uint64) []Run {
	var list []Run
	from := sort.Search(len(runs), func(i int) bool { return runs[i].End > start })
	for _, r := range runs[from:] {
		if r.Start >= end {
			break
		}
		if r.Start < start {
			r.offset += int64(start - r.Start)
			r.Start = start
		}
		r.End = min(r.End, end)
		list = append(list, r)
	}
	return list
}

// open opens the pages of a link, unless it has none.
func (m *Memory) open(images fs.FS, link int, id uint32) error {
	name := fmt.Sprintf("pages-%d.img", id)
	f, err := images.Open(name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil // reading says so, if there is something to read
	}
	if err != nil {
		return err
	}
	info, err := f.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = fmt.Errorf("%s: not a file", name)
	}
	at, ok := f.(io.ReaderAt)
	if err == nil && !ok {
		err = fmt.Errorf("%s: cannot be read in the middle", name)
	}
	if err != nil {
		return errors.Join(err, f.Close())
	}
	m.pages[link] = &pagesImage{f, at}
	return nil
}

// ErrNotThere are pages that none of the images has.
var ErrNotThere = errors.New("the images do not have these pages")

// ReadRun reads pages of a run of the memory, from an offset in it in bytes. The error
// is ErrNotThere if the images lack them, or are shorter than their pagemap says.
func (m *Memory) ReadRun(r Run, p []byte, offset uint64) error {
	if r.Link < 0 || m.pages[r.Link] == nil {
		return ErrNotThere
	}
	n, err := m.pages[r.Link].ReadAt(p, r.offset+int64(offset))
	if n == len(p) {
		return nil
	}
	if errors.Is(err, io.EOF) {
		return ErrNotThere
	}
	return err
}

// Within returns the runs from start to end, cut there.
func (m *Memory) Within(start, end uint64) []Run { return within(m.Runs, start, end) }

// Read fills p from an address on, with zeros for what is in no image. The error is
// ErrNotThere if pages should be in an image and are not.
func (m *Memory) Read(p []byte, address uint64) error {
	clear(p)
	end := address + uint64(len(p))
	if end < address {
		return ErrNotThere
	}
	for _, r := range m.Within(address, end) {
		if err := m.ReadRun(r, p[r.Start-address:r.End-address], 0); err != nil {
			return err
		}
	}
	return nil
}

// Close closes the images of pages.
func (m *Memory) Close() error {
	var err error
	for _, p := range m.pages {
		if p != nil {
			err = errors.Join(err, p.file.Close())
		}
	}
	return err
}
