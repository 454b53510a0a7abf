package metadata

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"golang.org/x/sys/unix"
)

const (
	lockFile  = ".lock"
	trackFile = ".track"
)

// Lock takes the container's lock, or returns ErrLocked. The lock ends with
// the process.
func (s Store) Lock(container string) (unlock func(), err error) {
	if err := CheckName(container); err != nil {
		return nil, err
	}
	if err := s.own(); err != nil {
		return nil, err
	}
	dir := filepath.Join(s.Dir, container)
	for {
		if err := os.MkdirAll(dir, 0o700); err != nil && !errors.Is(err, unix.EROFS) {
			return nil, err
		}
		f, err := lock(filepath.Join(dir, lockFile))
		switch {
		case errors.Is(err, unix.EWOULDBLOCK):
			return nil, fmt.Errorf("%w: %s", ErrLocked, container)
		case errors.Is(err, os.ErrNotExist):
			continue // tidied away by who had it before
		case errors.Is(err, unix.EROFS):
			return func() {}, nil // nobody changes anything there
		case err != nil:
			return nil, err
		}
		return func() {
			s.tidy(container)
			_ = f.Close()
		}, nil
	}
}

// lock opens and locks the file that has this path.
func lock(path string) (*os.File, error) {
	fd, err := unix.Open(path, unix.O_RDWR|unix.O_CREAT|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0o600)
	if err != nil {
		return nil, &os.PathError{Op: "open", Path: path, Err: err}
	}
	f := os.NewFile(uintptr(fd), path)
	var opened, there fs.FileInfo
	if err = unix.Flock(fd, unix.LOCK_EX|unix.LOCK_NB); err == nil {
		if opened, err = f.Stat(); err == nil {
			there, err = os.Stat(path)
		}
	}
	if err == nil && !os.SameFile(opened, there) {
		err = os.ErrNotExist
	}
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}

// tidy removes a container's directory when no checkpoint is in it. The lock
// is held.
func (s Store) tidy(container string) {
	dir := filepath.Join(s.Dir, container)
	list, err := os.ReadDir(dir)
	if err != nil || slices.ContainsFunc(list, func(e os.DirEntry) bool { return e.Name() != lockFile && e.Name() != trackFile }) {
		return
	}
	_ = os.Remove(filepath.Join(dir, trackFile))
	_ = os.Remove(filepath.Join(dir, lockFile))
	_ = os.Remove(dir)
}
