package coredump

import (
	"io"

	"github.com/checkpointctl/checkpointctl/internal/snapshot"
)

// sparse writes a file in which zeros take no space.
type sparse struct {
	out  io.WriteSeeker
	at   int64
	hole bool // that it ends with
	buf  []byte
}

func (s *sparse) write(data []byte) error {
	n, err := s.out.Write(data)
	s.at += int64(n)
	s.hole = s.hole && n == 0
	return err
}

func (s *sparse) skip(n int64) error {
	if n == 0 {
		return nil
	}
	s.at += n
	s.hole = true
	_, err := s.out.Seek(n, io.SeekCurrent)
	return err
}

// end gives the file its size.
func (s *sparse) end() error {
	if !s.hole {
		return nil
	}
	s.hole = false
	if _, err := s.out.Seek(-1, io.SeekCurrent); err != nil {
		return err
	}
	_, err := s.out.Write([]byte{0})
	return err
}

// memory writes a mapping from an address to an end, which lie in it.
func (s *sparse) memory(m *snapshot.Memory, a snapshot.Mapping, start, end uint64) error {
	from, base, err := m.Of(a)
	if err != nil {
		return err
	}
	if s.buf == nil {
		s.buf = make([]byte, 1<<20)
	}
	at := base + (start - a.Start)
	stop := at + (end - start)
	for _, r := range from.Within(at, stop) {
		if err := s.skip(int64(r.Start - at)); err != nil {
			return err
		}
		for at = r.Start; at < r.End; {
			n := min(uint64(len(s.buf)), r.End-at)
			if err := from.ReadRun(r, s.buf[:n], at-r.Start); err != nil {
				return err
			}
			if err := s.write(s.buf[:n]); err != nil {
				return err
			}
			at += n
		}
	}
	return s.skip(int64(stop - at))
}

// Piece is memory that was written to a file.
type Piece struct {
	Start  uint64 `json:"start"` // address, in bytes
	End    uint64 `json:"end"`
	Offset int64  `json:"offset"` // in the file, in bytes
	Name   string `json:"name"`   // path of the mapped file, or what memory it is
}

// WriteMapping writes one mapping as it is, with zeros for what is in no image.
func WriteMapping(out io.WriteSeeker, m *snapshot.Memory, a snapshot.Mapping) (Piece, error) {
	w := &sparse{out: out}
	if err := w.memory(m, a, a.Start, a.End); err != nil {
		return Piece{}, err
	}
	return Piece{a.Start, a.End, 0, a.Name()}, w.end()
}

// WriteAll writes what the images have of the mappings, one piece behind the other, and
// returns where which one is.
func WriteAll(out io.WriteSeeker, m *snapshot.Memory, list []snapshot.Mapping) ([]Piece, error) {
	w := &sparse{out: out}
	pieces := []Piece{}
	for _, a := range list {
		from, base, err := m.Of(a)
		if err != nil {
			return nil, err
		}
		for _, r := range from.Within(base, base+(a.End-a.Start)) {
			p := Piece{a.Start + (r.Start - base), a.Start + (r.End - base), w.at, a.Name()}
			if err := w.memory(m, a, p.Start, p.End); err != nil {
				return nil, err
			}
			pieces = append(pieces, p)
		}
	}
	return pieces, w.end()
}
