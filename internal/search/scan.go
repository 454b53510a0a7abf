package search

import (
	"context"
	"errors"

	"github.com/checkpointctl/checkpointctl/internal/criuimg"
)

// window is how much memory is looked at at once, in bytes.
const window = 1 << 20

// scanner reads memory run by run, and searches across their borders.
type scanner struct {
	pattern Pattern
	context int // bytes before and behind a match
	found   func(address uint64, match, before, after []byte) error

	buf     []byte
	base    uint64 // address of buf[0]
	from    int    // where the search goes on
	read    int64  // bytes, in all
	missing int64  // bytes that should be in an image and are not
}

func newScanner(p Pattern, context int) *scanner {
	return &scanner{pattern: p, context: context, buf: make([]byte, 0, window+2*(p.longest()+context))}
}

// scan searches the runs of a memory. Runs that adjoin are searched as one.
func (s *scanner) scan(ctx context.Context, m *criuimg.Memory, runs []criuimg.Run) error {
	end := uint64(0)
	for _, r := range runs {
		if r.Start != end || r.Link < 0 {
			if err := s.finish(r.Start); err != nil {
				return err
			}
		}
		for at := r.Start; at < r.End; {
			if err := ctx.Err(); err != nil {
				return err
			}
			n := int(min(r.End-at, uint64(cap(s.buf)-len(s.buf))))
			to := s.buf[len(s.buf) : len(s.buf)+n]
			err := m.ReadRun(r, to, at-r.Start)
			if errors.Is(err, criuimg.ErrNotThere) {
				s.missing += int64(r.End - at)
				if err := s.finish(r.End); err != nil {
					return err
				}
				break
			}
			if err != nil {
				return err
			}
			s.buf, s.read, at = s.buf[:len(s.buf)+n], s.read+int64(n), at+uint64(n)
			if len(s.buf) == cap(s.buf) {
				if err := s.search(false); err != nil {
					return err
				}
			}
		}
		end = r.End
	}
	return s.finish(0)
}

// finish searches what is left, and begins anew at another address.
func (s *scanner) finish(next uint64) error {
	err := s.search(true)
	s.buf, s.base, s.from = s.buf[:0], next, 0
	return err
}

// search looks for matches in the buffer. Unless the memory ends there, those at its
// end are left for the next time, when all of them and of what is behind them is there.
func (s *scanner) search(last bool) error {
	hold := len(s.buf)
	if !last {
		hold -= s.pattern.longest() + s.context
	}
	for s.from < hold {
		start, end := s.pattern.find(s.buf[s.from:])
		if start < 0 || s.from+start >= hold {
			s.from = max(s.from, hold)
			break
		}
		start, end = s.from+start, s.from+end
		if start == end { // nothing, at the border of a word
			s.from = end + 1
			continue
		}
		before, after := s.buf[max(0, start-s.context):start], s.buf[end:min(len(s.buf), end+s.context)]
		if err := s.found(s.base+uint64(start), s.buf[start:end], before, after); err != nil {
			return err
		}
		s.from = end
	}
	if drop := s.from - s.context; !last && drop > 0 {
		drop = min(drop, len(s.buf))
		s.buf = s.buf[:copy(s.buf, s.buf[drop:])]
		s.base += uint64(drop)
		s.from -= drop
	}
	return nil
}
