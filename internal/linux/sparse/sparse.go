// Package sparse reads and writes files that have holes.
package sparse

import (
	"bytes"
	"errors"
	"io"
	"os"

	"golang.org/x/sys/unix"
)

// Extent returns where the data at or after an offset of a file begin and end.
// Both are size if only a hole is left. All is taken for data where the
// filesystem does not tell.
func Extent(f *os.File, at, size int64) (data, hole int64) {
	data, err := unix.Seek(int(f.Fd()), at, unix.SEEK_DATA)
	switch {
	case errors.Is(err, unix.ENXIO): // only a hole is left
		return size, size
	case err != nil:
		return at, size
	}
	hole, err = unix.Seek(int(f.Fd()), data, unix.SEEK_HOLE)
	if err != nil || hole > size {
		hole = size
	}
	return min(data, size), hole
}

// Reader reads a file whose holes it does not ask the kernel for: that would
// fill the page cache with their zeros.
type Reader struct {
	file       *os.File
	size, at   int64
	data, hole int64 // where the data at or after at begin, and end
}

// NewReader returns a Reader that begins at the start of the file.
func NewReader(f *os.File) (*Reader, error) {
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	return &Reader{file: f, size: info.Size()}, nil
}

func (r *Reader) Read(p []byte) (n int, err error) {
	if r.at >= r.size {
		return 0, io.EOF
	}
	if r.at >= r.hole {
		r.data, r.hole = Extent(r.file, r.at, r.size)
	}
	if r.at < r.data {
		n = int(min(int64(len(p)), r.data-r.at))
		clear(p[:n])
	} else {
		n, err = r.file.ReadAt(p[:min(int64(len(p)), r.hole-r.at)], r.at)
	}
	r.at += int64(n)
	return n, err
}

// block is the size of a page, below which filesystems make no holes.
const block = 4096

var zeros [block]byte

// Writer writes a new file, with holes for blocks of zeros.
type Writer struct {
	file *os.File
	size int64
}

// NewWriter returns a Writer to an empty file. What is written in other pieces
// than whole blocks has fewer holes.
func NewWriter(f *os.File) *Writer { return &Writer{file: f} }

func (w *Writer) Write(p []byte) (int, error) {
	for done := 0; done < len(p); {
		zero, n := run(p[done:])
		if !zero {
			if k, err := w.file.WriteAt(p[done:done+n], w.size); err != nil {
				return done + k, err
			}
		}
		done += n
		w.size += int64(n)
	}
	return len(p), nil
}

// run returns how long the blocks at the start of p are all zeros, or all not.
func run(p []byte) (zero bool, n int) {
	for n < len(p) {
		part := p[n:min(n+block, len(p))]
		is := bytes.Equal(part, zeros[:len(part)])
		if n > 0 && is != zero {
			break
		}
		zero = is
		n += len(part)
	}
	return zero, n
}

// Skip leaves a hole of n bytes.
func (w *Writer) Skip(n int64) { w.size += n }

// Size is how many bytes were written and skipped.
func (w *Writer) Size() int64 { return w.size }

// Finish gives a regular file the size of all that was written; a device has its own.
// It does not close it.
func (w *Writer) Finish() error {
	info, err := w.file.Stat()
	if err != nil || !info.Mode().IsRegular() {
		return err
	}
	return w.file.Truncate(w.size)
}
