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
	Name    string `json:"name"` // path of the file, or what memory it is
	Change  string `json:"change,omitempty"`
	Added   uint64 `json:"added"`   // only the second checkpoint has them
	Removed uint64 `json:"removed"` // only the first one
	Changed uint64 `json:"changed"`
	Same    uint64 `json:"same"`
	Unknown uint64 `json:"unknown"` // should be in an image, and are not
}

// isNoText says whether it is only arguments and environment that are not there.
func isNoText(err error) bool { return errors.Is(err, snapshot.ErrNoText) }

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
		if m.Change != "" || m.Added+m.Removed+m.Changed+m.Same+m.Unknown > 0 {
			r.Memory = append(r.Memory, m)
		}
	}
	return errors.Join(err, a.Close(), b.Close())
}

// mappings are those of both, in order of their addresses, and none twice. One that
// has another size is as long as the longer one.
func mappings(p, q *snapshot.Process) []Memory {
	var list []Memory
	of := func(m snapshot.Mapping, change string) Memory {
		return Memory{PID: q.PID, Start: m.Start, End: m.End, Name: m.Name(), Change: change}
	}
	had := map[uint64]snapshot.Mapping{}
	for _, m := range p.Mappings {
		had[m.Start] = m
	}
	for _, m := range q.Mappings {
		change := ""
		switch old, known := had[m.Start]; {
		case !known || old.Name() != m.Name():
			change = New
		case old.End != m.End:
			change, m.End = Changed, max(old.End, m.End)
		}
		if m.End > m.Start && !m.IsShared() {
			list = append(list, of(m, change))
		}
	}
	for _, m := range p.Mappings {
		// What the second has at the same addresses is told as its own.
		i := sort.Search(len(q.Mappings), func(i int) bool { return q.Mappings[i].End > m.Start })
		covered := i < len(q.Mappings) && q.Mappings[i].Start < m.End
		if !covered && m.End > m.Start && !m.IsShared() {
			list = append(list, of(m, Gone))
		}
	}
	slices.SortFunc(list, func(a, b Memory) int { return cmp.Compare(a.Start, b.Start) })
	return list
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
		m := Memory{PID: s.PIDs[0], Start: s.First.Start, End: s.First.End, Name: s.First.Name()}
		old, known := had[key(s)]
		if !known {
			m.Change = New
		}
		a := &criuimg.Memory{}
		var err error
		if known {
			if a, err = from.OpenShared(old); err != nil {
				return err
			}
		}
		b, err := to.OpenShared(s)
		if err != nil {
			return errors.Join(err, a.Close())
		}
		err = walk(ctx, a, b, func(at, end uint64, add func(*Memory, uint64)) { add(&m, (end-at)/criuimg.PageSize) })
		if err = errors.Join(err, a.Close(), b.Close()); err != nil {
			return err
		}
		r.Memory = append(r.Memory, m)
	}
	return nil
}
