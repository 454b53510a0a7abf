package tasks

import (
	"strconv"

	"golang.org/x/sys/unix"
)

// directory is one of /proc. A scan reads thousands of its files: paths from the
// root, and what os.File does besides, would be most of the time.
type directory struct {
	fd  int
	buf *buffer
}

// buffer is for one reader at a time. It grows to what the largest file needs.
type buffer []byte

func newBuffer() *buffer {
	b := make(buffer, 16<<10)
	return &b
}

func open(path string, buf *buffer) (*directory, error) {
	fd, err := unix.Open(path, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	return &directory{fd: fd, buf: buf}, nil
}

// in opens a directory in it. It has the buffer in common.
func (d *directory) in(name string) (*directory, error) {
	fd, err := unix.Openat(d.fd, name, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	return &directory{fd: fd, buf: d.buf}, nil
}

func (d *directory) close() { _ = unix.Close(d.fd) }

// names returns what is in it.
func (d *directory) names() (names []string, err error) {
	for {
		n, err := unix.ReadDirent(d.fd, *d.buf)
		if n <= 0 || err != nil {
			return names, err
		}
		_, _, names = unix.ParseDirent((*d.buf)[:n], -1, names)
	}
}

// read returns the content of a file. It is valid until the next read.
func (d *directory) read(name string) ([]byte, error) {
	fd, err := unix.Openat(d.fd, name, unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	defer unix.Close(fd)
	n := 0
	for {
		if n == len(*d.buf) {
			*d.buf = append(*d.buf, make([]byte, n)...)
		}
		more, err := unix.Read(fd, (*d.buf)[n:])
		if more <= 0 || err != nil {
			return (*d.buf)[:n], err
		}
		n += more
	}
}

// link returns where a link leads; empty when it is gone.
func (d *directory) link(name string) string {
	n, err := unix.Readlinkat(d.fd, name, *d.buf)
	if err != nil {
		return ""
	}
	return string((*d.buf)[:n])
}

// stat looks at what a link leads to, or at the link itself.
func (d *directory) stat(name string, flags int) (st unix.Stat_t, ok bool) {
	return st, unix.Fstatat(d.fd, name, &st, flags) == nil
}

// unlinked looks at what a link leads to; nil for what is no file, or gone
// meanwhile.
func (d *directory) unlinked(name string) *Unlinked {
	st, ok := d.stat(name, 0)
	if !ok || st.Mode&unix.S_IFMT != unix.S_IFREG {
		return nil
	}
	return &Unlinked{Links: int(st.Nlink), Size: st.Blocks * 512, Inode: st.Ino}
}

func number(text string) int {
	n, _ := strconv.Atoi(text)
	return n
}
