package metadata

import (
	"errors"
	"io"
	"os"

	"golang.org/x/sys/unix"
)

// sparse reads a file whose holes it does not ask the kernel for: that would
// fill the page cache with their zeros.
type sparse struct {
	file       *os.File
	size, at   int64
	data, hole int64 // where the data at or after at begins, and ends
}

func newSparse(f *os.File) (*sparse, error) {
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	return &sparse{file: f, size: info.Size()}, nil
}

func (s *sparse) Read(p []byte) (n int, err error) {
	if s.at >= s.size {
		return 0, io.EOF
	}
	if s.at >= s.hole {
		s.find()
	}
	if s.at < s.data {
		n = int(min(int64(len(p)), s.data-s.at))
		clear(p[:n])
	} else {
		n, err = s.file.ReadAt(p[:min(int64(len(p)), s.hole-s.at)], s.at)
	}
	s.at += int64(n)
	return n, err
}

// find takes all for data where the filesystem does not tell.
func (s *sparse) find() {
	var err error
	fd := int(s.file.Fd())
	s.data, err = unix.Seek(fd, s.at, unix.SEEK_DATA)
	switch {
	case errors.Is(err, unix.ENXIO): // only a hole is left
		s.data, s.hole = s.size, s.size
		return
	case err != nil:
		s.data, s.hole = s.at, s.size
		return
	}
	if s.hole, err = unix.Seek(fd, s.data, unix.SEEK_HOLE); err != nil || s.hole > s.size {
		s.hole = s.size
	}
}
