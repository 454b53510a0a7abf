package coredump

import (
	"os"

	"github.com/checkpointctl/checkpointctl/internal/linux/sparse"
	"github.com/checkpointctl/checkpointctl/internal/snapshot"
)

// writer writes memory into a file, in which zeros take no space.
type writer struct {
	*sparse.Writer
	buf []byte
}

func newWriter(out *os.File) *writer { return &writer{sparse.NewWriter(out), make([]byte, 1<<20)} }

// memory writes a mapping from an address to an end, which lie in it.
func (w *writer) memory(m *snapshot.Memory, a snapshot.Mapping, start, end uint64) error {
	from, base, err := m.Of(a)
	if err != nil {
		return err
	}
	at := base + (start - a.Start)
	stop := at + (end - start)
	for _, r := range from.Within(at, stop) {
		w.Skip(int64(r.Start - at))
		for at = r.Start; at < r.End; {
			n := min(uint64(len(w.buf)), r.End-at)
			if err := from.ReadRun(r, w.buf[:n], at-r.Start); err != nil {
				return err
			}
			if _, err := w.Write(w.buf[:n]); err != nil {
				return err
			}
			at += n
		}
	}
	w.Skip(int64(stop - at))
	return nil
}

// Piece is memory that was written to a file.
type Piece struct {
	Start  uint64 `json:"start"` // address, in bytes
	End    uint64 `json:"end"`
	Offset int64  `json:"offset"` // in the file, in bytes
	Name   string `json:"name"`   // path of the mapped file, or what memory it is
}

// WriteMapping writes one mapping as it is, with zeros for what is in no image.
func WriteMapping(out *os.File, m *snapshot.Memory, a snapshot.Mapping) (Piece, error) {
	w := newWriter(out)
	if err := w.memory(m, a, a.Start, a.End); err != nil {
		return Piece{}, err
	}
	return Piece{a.Start, a.End, 0, a.Name()}, w.Finish()
}

// WriteAll writes what the images have of the mappings, one piece behind the other, and
// returns where which one is.
func WriteAll(out *os.File, m *snapshot.Memory, list []snapshot.Mapping) ([]Piece, error) {
	w := newWriter(out)
	pieces := []Piece{}
	for _, a := range list {
		from, base, err := m.Of(a)
		if err != nil {
			return nil, err
		}
		for _, r := range from.Within(base, base+(a.End-a.Start)) {
			p := Piece{a.Start + (r.Start - base), a.Start + (r.End - base), w.Size(), a.Name()}
			if err := w.memory(m, a, p.Start, p.End); err != nil {
				return nil, err
			}
			pieces = append(pieces, p)
		}
	}
	return pieces, w.Finish()
}
