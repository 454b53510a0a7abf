package layer

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"sync"
	"sync/atomic"

	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"

	"github.com/checkpointctl/checkpointctl/internal/linux/sparse"
)

const (
	// packed is how large a file may be to lie beside others in one: making and
	// removing a file costs more than its content.
	packed = 128 << 10
	chunk  = 1 << 20
)

// content is where the copy of a file's data is.
type content struct {
	size   int64 // when it was copied
	room   int64 // in the pack, from offset on; 0 if it has a file of its own
	offset int64
	file   string // empty if it is in the pack
	sparse bool   // the file had holes
}

// stage is a directory with copies.
type stage struct {
	dir     string
	pack    *os.File
	packEnd atomic.Int64
	noClone atomic.Bool // of files, on this filesystem
	buffers sync.Pool
}

func newStage(dir string) (*stage, error) {
	if err := os.Mkdir(dir, 0o700); err != nil {
		return nil, err
	}
	pack, err := os.OpenFile(filepath.Join(dir, "pack"), os.O_CREATE|os.O_EXCL|os.O_RDWR, 0o600)
	if err != nil {
		return nil, errors.Join(err, os.RemoveAll(dir))
	}
	return &stage{dir: dir, pack: pack, buffers: sync.Pool{New: func() any { b := make([]byte, chunk); return &b }}}, nil
}

func (s *stage) remove() error {
	return errors.Join(s.pack.Close(), os.RemoveAll(s.dir))
}

// take copies a file, over an earlier copy of it if there is one, and returns
// how many bytes it wrote.
func (s *stage) take(src *os.File, n *node, at *content) (int64, error) {
	at.sparse = n.blocks*512 < n.size
	if n.size <= packed && !at.sparse && at.file == "" {
		return s.takeSmall(src, n.size, at)
	}
	again := at.file != ""
	if !again {
		at.file, at.room = filepath.Join(s.dir, fmt.Sprintf("%x-%x", n.key.dev, n.key.ino)), 0
	}
	dst, err := os.OpenFile(at.file, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return 0, err
	}
	written, err := s.copyFile(dst, src, n.size, again)
	at.size = n.size
	return written, errors.Join(err, dst.Close())
}

func (s *stage) takeSmall(src *os.File, size int64, at *content) (int64, error) {
	buf := s.buffers.Get().(*[]byte)
	defer s.buffers.Put(buf)
	n, err := io.ReadFull(src, (*buf)[:size])
	if err != nil && !errors.Is(err, io.ErrUnexpectedEOF) && !errors.Is(err, io.EOF) {
		return 0, err
	}
	if int64(n) > at.room {
		at.room = int64(n)
		at.offset = s.packEnd.Add(at.room) - at.room
	}
	at.size = int64(n)
	_, err = s.pack.WriteAt((*buf)[:n], at.offset)
	return at.size, err
}

// open returns the copy, and the offset at which it begins.
func (s *stage) open(c content) (*os.File, int64, error) {
	if c.file == "" {
		return s.pack, c.offset, nil
	}
	f, err := os.Open(c.file)
	return f, 0, err
}

// done gives the room of a copy free, as far as that can be.
func (s *stage) done(c content, f *os.File) error {
	if c.file == "" {
		return nil
	}
	return errors.Join(f.Close(), os.Remove(c.file))
}

// copyFile makes dst hold what src holds, with its holes. With again, what dst
// has is likely the same but for a little.
func (s *stage) copyFile(dst, src *os.File, size int64, again bool) (int64, error) {
	if !s.noClone.Load() {
		err := unix.IoctlFileClone(int(dst.Fd()), int(src.Fd()))
		if err == nil {
			return 0, nil
		}
		s.noClone.Store(true)
	}
	if err := dst.Truncate(size); err != nil {
		return 0, err
	}
	var written atomic.Int64
	var all errgroup.Group
	all.SetLimit(runtime.NumCPU())
	for at := int64(0); at < size; {
		data, hole := sparse.Extent(src, at, size)
		if again && data > at {
			// It may have data where there is a hole now.
			_ = unix.Fallocate(int(dst.Fd()), unix.FALLOC_FL_PUNCH_HOLE|unix.FALLOC_FL_KEEP_SIZE, at, data-at)
		}
		for ; data < hole; data += 32 * chunk {
			from, length := data, min(32*chunk, hole-data)
			all.Go(func() error {
				n, err := int64(0), error(nil)
				if again {
					n, err = s.compare(dst, src, from, length)
				} else {
					n, err = s.copyRange(dst, src, from, length)
				}
				written.Add(n)
				return err
			})
		}
		at = hole
	}
	err := all.Wait()
	return written.Load(), err
}

func (s *stage) copyRange(dst, src *os.File, from, length int64) (int64, error) {
	left := length
	for in, out := from, from; left > 0; {
		n, err := unix.CopyFileRange(int(src.Fd()), &in, int(dst.Fd()), &out, int(min(left, 1<<30)), 0)
		if err != nil {
			n, err := s.compare(dst, src, in, left) // the kernel cannot from here to there
			return length - left + n, err
		}
		if n == 0 {
			break // it was cut short
		}
		left -= int64(n)
	}
	return length - left, nil
}

// compare writes the blocks of src that dst has not: reading is quicker than
// writing.
func (s *stage) compare(dst, src *os.File, from, length int64) (written int64, err error) {
	a, b := s.buffers.Get().(*[]byte), s.buffers.Get().(*[]byte)
	defer s.buffers.Put(a)
	defer s.buffers.Put(b)
	const block = 64 << 10
	for at := from; at < from+length; {
		want := min(chunk, from+length-at)
		n, err := src.ReadAt((*a)[:want], at)
		if n == 0 {
			if errors.Is(err, io.EOF) {
				err = nil // it was cut short
			}
			return written, err
		}
		m, err := dst.ReadAt((*b)[:n], at)
		if err != nil && !errors.Is(err, io.EOF) {
			return written, err
		}
		for off := 0; off < n; off += block {
			end := min(off+block, n)
			if end <= m && bytes.Equal((*a)[off:end], (*b)[off:end]) {
				continue
			}
			if _, err := dst.WriteAt((*a)[off:end], at+int64(off)); err != nil {
				return written, err
			}
			written += int64(end - off)
		}
		at += int64(n)
	}
	return written, nil
}
