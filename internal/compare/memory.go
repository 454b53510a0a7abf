package compare

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"sort"

	"github.com/checkpointctl/checkpointctl/internal/criuimg"
	"github.com/checkpointctl/checkpointctl/internal/snapshot"
)

// Memory is what became of a mapping, in pages.
type Memory struct {
	PID     uint32 `json:"pid"`
	Start   uint64 `json:"start"` // address, in bytes
	End     uint64 `json:"end"`
	Name    string `json:"name"`             // path of the file, or what memory it is
	Shared  bool   `json:"shared,omitempty"` // with other processes; told once, of the first of them
	Change  string `json:"change,omitempty"`
	Added   uint64 `json:"added"`   // only the second checkpoint has them
	Removed uint64 `json:"removed"` // only the first one
	Changed uint64 `json:"changed"`
	Same    uint64 `json:"same"`
	Unknown uint64 `json:"unknown"` // should be in an image, and are not
}

// Differs says whether the mapping itself or any page of it is not as it was.
func (m Memory) Differs() bool { return m.Change != "" || m.Added+m.Removed+m.Changed > 0 }

// Pages is how many pages either checkpoint has.
func (m Memory) Pages() uint64 { return m.Added + m.Removed + m.Changed + m.Same + m.Unknown }

// Add adds the pages of another mapping.
func (m *Memory) Add(o Memory) {
	m.Added += o.Added
	m.Removed += o.Removed
	m.Changed += o.Changed
	m.Same += o.Same
	m.Unknown += o.Unknown
}

// memory compares the memory of a process that is in both.
func (r *Result) memory(ctx context.Context, from, to *snapshot.Snapshot, p, q *snapshot.Process) error {
	a, err := from.Memory(p)
	if err != nil {
		return err
	}
	b, err := to.Memory(q)
	if err != nil {
		return errors.Join(err, a.Close())
	}
	areas := mappings(p, q)
	err = walk(ctx, a.Own(), b.Own(), func(address, end uint64, add func(*Memory, uint64)) {
		split(areas, address, end, add)
	})
	for _, m := range areas {
		if m.Change != "" || m.Pages() > 0 {
			r.Memory = append(r.Memory, m)
		}
	}
	return errors.Join(err, a.Close(), b.Close())
}

// mappings are those of both, in order of their addresses, none twice and none over
// another. One that grew or shrank is as long as it ever was.
func mappings(p, q *snapshot.Process) []Memory {
	before, after := private(p), private(q)
	list := make([]Memory, len(after))
	for i, m := range after {
		list[i] = Memory{PID: q.PID, Start: m.Start, End: m.End, Name: m.Name(), Change: New}
	}
	var gone []Memory
	for _, old := range before {
		from := sort.Search(len(after), func(i int) bool { return after[i].End > old.Start })
		at, last := old.Start, (*Memory)(nil)
		for i := from; i < len(after) && after[i].Start < old.End; i++ {
			m := &list[i]
			if m.Name == old.Name() && m.Change == New {
				m.Change = ""
				if after[i].Start != old.Start || after[i].End != old.End {
					m.Change = Changed
				}
			}
			gone = rest(gone, p.PID, m, last, old, at, after[i].Start)
			at, last = after[i].End, m
		}
		gone = rest(gone, p.PID, nil, last, old, at, old.End)
	}
	list = append(list, gone...)
	slices.SortFunc(list, func(a, b Memory) int { return cmp.Compare(a.Start, b.Start) })
	return list
}

// rest adds what an old mapping had from start to end, where there is nothing now: to
// the mapping behind it or before it, if that is the same one, or to what is gone.
func rest(gone []Memory, pid uint32, behind, before *Memory, old snapshot.Mapping, start, end uint64) []Memory {
	switch {
	case start >= end:
	case behind != nil && behind.Name == old.Name():
		behind.Start = start
	case before != nil && before.Name == old.Name():
		before.End = end
	default:
		gone = append(gone, Memory{PID: pid, Start: start, End: end, Name: old.Name(), Change: Gone})
	}
	return gone
}

// private are the mappings of a process whose pages are its own.
func private(p *snapshot.Process) []snapshot.Mapping {
	return slices.DeleteFunc(slices.Clone(p.Mappings), func(m snapshot.Mapping) bool { return m.IsShared() || m.End <= m.Start })
}

// split tells pages to the mappings that they are in.
func split(areas []Memory, address, end uint64, add func(*Memory, uint64)) {
	i, _ := slices.BinarySearchFunc(areas, address, func(m Memory, address uint64) int {
		if m.End <= address {
			return -1
		}
		return 1
	})
	for ; i < len(areas) && areas[i].Start < end; i++ {
		m := &areas[i]
		if from, to := max(address, m.Start), min(end, m.End); from < to {
			add(m, (to-from)/criuimg.PageSize)
		}
	}
}

// What became of pages.
func added(m *Memory, n uint64)   { m.Added += n }
func removed(m *Memory, n uint64) { m.Removed += n }
func changed(m *Memory, n uint64) { m.Changed += n }
func same(m *Memory, n uint64)    { m.Same += n }
func unknown(m *Memory, n uint64) { m.Unknown += n }

// block is how much is compared at once, in bytes.
const block = 256 << 10

// walk goes through both memories, and tells what became of the pages from an address
// to an end.
func walk(ctx context.Context, a, b *criuimg.Memory, tell func(address, end uint64, add func(*Memory, uint64))) error {
	p, q := make([]byte, block), make([]byte, block)
	for i, j, at := 0, 0, uint64(0); i < len(a.Runs) || j < len(b.Runs); {
		if err := ctx.Err(); err != nil {
			return err
		}
		x, y := runAt(a.Runs, i), runAt(b.Runs, j)
		at = max(at, min(x.Start, y.Start))
		inA, inB := x.Start <= at, y.Start <= at
		end := min(next(x, at), next(y, at))
		switch {
		case inA && !inB:
			tell(at, end, known(x, removed))
		case inB && !inA:
			tell(at, end, known(y, added))
		case x.Link < 0 || y.Link < 0:
			tell(at, end, unknown)
		default:
			n := min(end-at, block)
			err := errors.Join(a.ReadRun(x, p[:n], at-x.Start), b.ReadRun(y, q[:n], at-y.Start))
			switch {
			case errors.Is(err, criuimg.ErrNotThere): // nor is what follows
				tell(at, end, unknown)
			case err != nil:
				return err
			default:
				end = at + n
				equal(p[:n], q[:n], at, tell)
			}
		}
		if at = end; i < len(a.Runs) && at >= x.End {
			i++
		}
		if j < len(b.Runs) && at >= y.End {
			j++
		}
	}
	return nil
}

// known is what became of pages of a run that has them.
func known(r criuimg.Run, add func(*Memory, uint64)) func(*Memory, uint64) {
	if r.Link < 0 {
		return unknown
	}
	return add
}

// runAt is a run, or one behind all memory.
func runAt(runs []criuimg.Run, i int) criuimg.Run {
	if i < len(runs) {
		return runs[i]
	}
	return criuimg.Run{Start: ^uint64(0), End: ^uint64(0)}
}

// next is where something changes for a run: at its beginning, or at its end.
func next(r criuimg.Run, at uint64) uint64 {
	if r.Start > at {
		return r.Start
	}
	return r.End
}

// equal compares two blocks, and page by page only if they differ.
func equal(p, q []byte, at uint64, tell func(address, end uint64, add func(*Memory, uint64))) {
	if bytes.Equal(p, q) {
		tell(at, at+uint64(len(p)), same)
		return
	}
	for n := 0; n < len(p); n += criuimg.PageSize {
		became := changed
		if bytes.Equal(p[n:n+criuimg.PageSize], q[n:n+criuimg.PageSize]) {
			became = same
		}
		tell(at+uint64(n), at+uint64(n)+criuimg.PageSize, became)
	}
}

// shared compares memory that processes share, which is the same if the first of them
// has it at the same address.
func (r *Result) shared(ctx context.Context, from, to *snapshot.Snapshot) error {
	key := func(s snapshot.Piece) string { return fmt.Sprintf("%d %x", s.PIDs[0], s.First.Start-s.First.Offset) }
	had := map[string]snapshot.Piece{}
	for _, s := range from.SharedMemory() {
		had[key(s)] = s
	}
	for _, s := range to.SharedMemory() {
		old, change := had[key(s)], ""
		if old.Image == "" {
			change = New
		}
		delete(had, key(s))
		if err := r.piece(ctx, from, to, old, s, s, change); err != nil {
			return err
		}
	}
	for _, s := range from.SharedMemory() {
		if _, left := had[key(s)]; left {
			if err := r.piece(ctx, from, to, s, snapshot.Piece{}, s, Gone); err != nil {
				return err
			}
		}
	}
	return nil
}

// piece compares two pieces of shared memory, of which one may be of no image, and
// tells it under the address of the shown one.
func (r *Result) piece(ctx context.Context, from, to *snapshot.Snapshot, old, is, shown snapshot.Piece, change string) error {
	m := Memory{PID: shown.PIDs[0], Start: shown.First.Start, End: shown.First.End, Name: shown.First.Name(), Shared: true, Change: change}
	a, err := openPiece(from, old)
	if err != nil {
		return err
	}
	b, err := openPiece(to, is)
	if err != nil {
		return errors.Join(err, a.Close())
	}
	err = walk(ctx, a, b, func(at, end uint64, add func(*Memory, uint64)) { add(&m, (end-at)/criuimg.PageSize) })
	r.Memory = append(r.Memory, m)
	return errors.Join(err, a.Close(), b.Close())
}

func openPiece(s *snapshot.Snapshot, p snapshot.Piece) (*criuimg.Memory, error) {
	if p.Image == "" {
		return &criuimg.Memory{}, nil
	}
	return s.OpenShared(p)
}
