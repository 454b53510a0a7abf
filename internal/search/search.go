package search

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sort"

	"github.com/checkpointctl/checkpointctl/internal/snapshot"
)

// Match is a place where a pattern was found. Its slices are valid until found returns.
type Match struct {
	PIDs    []uint32 // whose memory it is; several for shared memory
	Mapping string   // path of the file, or what memory it is
	Address uint64   // of the first process
	Bytes   []byte
	Before  []byte // what lies before it
	After   []byte // and behind it
}

// Request says what is searched where.
type Request struct {
	Pattern Pattern
	PID     uint32 // of the only process that is searched; 0 for all
	Context int    // how many bytes before and behind a match are told
	// Found is called for every match. Its error ends the search.
	Found func(Match) error
}

// Searched is how much there was, in bytes.
type Searched struct {
	Bytes   int64
	Missing int64 // that should be in an image, and are not
}

// Run searches the memory of the processes: what is in the images, also in those of
// parents, but not files that are mapped and were not written to. Shared memory is
// searched once.
func Run(ctx context.Context, s *snapshot.Snapshot, r Request) (Searched, error) {
	scan := newScanner(r.Pattern, r.Context)
	for _, p := range s.Processes {
		if r.PID != 0 && r.PID != p.PID {
			continue
		}
		if err := process(ctx, s, p, scan, r.Found); err != nil {
			return Searched{}, err
		}
	}
	for _, piece := range s.SharedMemory() {
		if r.PID != 0 && !slices.Contains(piece.PIDs, r.PID) {
			continue
		}
		if err := shared(ctx, s, piece, scan, r.Found); err != nil {
			return Searched{}, err
		}
	}
	return Searched{scan.read, scan.missing}, nil
}

func process(ctx context.Context, s *snapshot.Snapshot, p *snapshot.Process, scan *scanner, found func(Match) error) error {
	m, err := s.Memory(p)
	if err != nil {
		return err
	}
	scan.found = func(address uint64, match, before, after []byte) error {
		return found(Match{[]uint32{p.PID}, mappingAt(p.Mappings, address), address, match, before, after})
	}
	return errors.Join(scan.scan(ctx, m.Own(), m.Own().Runs), m.Close())
}

// mappingAt names the mapping that an address is in. They are in order.
func mappingAt(list []snapshot.Mapping, address uint64) string {
	i := sort.Search(len(list), func(i int) bool { return list[i].End > address })
	if i == len(list) || list[i].Start > address {
		return "[no mapping]"
	}
	return list[i].Name()
}

func shared(ctx context.Context, s *snapshot.Snapshot, piece snapshot.Piece, scan *scanner, found func(Match) error) error {
	m, err := s.OpenShared(piece)
	if err != nil {
		return err
	}
	first := piece.First
	scan.found = func(offset uint64, match, before, after []byte) error {
		name := first.Name()
		if offset < first.Offset || offset-first.Offset >= first.End-first.Start {
			name = fmt.Sprintf("%s, not mapped by process %d", name, piece.PIDs[0])
		}
		return found(Match{piece.PIDs, name, first.Start + offset - first.Offset, match, before, after})
	}
	return errors.Join(scan.scan(ctx, m, m.Runs), m.Close())
}
