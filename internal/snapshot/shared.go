package snapshot

import "github.com/checkpointctl/checkpointctl/internal/criuimg"

// SharedMemory are the pieces of shared memory that processes map, each once, and the
// first mapping of each.
func (s *Snapshot) SharedMemory() []Piece {
	var list []Piece
	seen := map[string]int{}
	for _, p := range s.Processes {
		for _, m := range p.Mappings {
			if m.shared == "" {
				continue
			}
			i, known := seen[m.shared]
			if !known {
				i = len(list)
				seen[m.shared] = i
				list = append(list, Piece{First: m, Image: m.shared})
			}
			list[i].End = max(list[i].End, m.Offset+(m.End-m.Start))
			if n := len(list[i].PIDs); n == 0 || list[i].PIDs[n-1] != p.PID {
				list[i].PIDs = append(list[i].PIDs, p.PID)
			}
		}
	}
	return list
}

// Piece is a piece of memory that processes share.
type Piece struct {
	Image string   // its pagemap
	First Mapping  // of the first process
	End   uint64   // up to which it is mapped, in bytes
	PIDs  []uint32 // whose it is
}

// OpenShared opens a piece of shared memory. It is to be closed.
func (s *Snapshot) OpenShared(m Piece) (*criuimg.Memory, error) {
	return openIfThere(s.chain, m.Image)
}

// SharedPages counts the pages of a piece of shared memory, as far as it is mapped.
func (s *Snapshot) SharedPages(m Piece) (Pages, error) {
	from, err := s.OpenShared(m)
	if err != nil {
		return Pages{}, err
	}
	return count(from, 0, m.End, m.First.Kind), from.Close()
}
