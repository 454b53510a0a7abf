package metadata

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
)

// Errors of a store that must not, or cannot, be used.
var (
	// ErrExposed is a directory that another user could change, or put another
	// in the place of.
	ErrExposed = errors.New("store is not safe")
	// ErrNoAccess is a store that this user may not read.
	ErrNoAccess = errors.New("no access to the store")
)

const memoryFile = ".criu" // no container's name begins with a dot

const (
	othersWrite = 0o022
	othersAny   = 0o077
	maxLinks    = 40 // as the kernel, see path_resolution(7)
)

// CheckAccess returns ErrExposed or ErrNoAccess. A store that is not there yet
// is well.
func (s Store) CheckAccess() error {
	if err := CheckSafe(s.Dir); err != nil {
		return err
	}
	d, err := os.Open(s.Dir)
	if err != nil {
		return accessError(err)
	}
	return d.Close()
}

// Memory is a file of the store for what CRIU answered; empty while the store is
// not there, or open to others than its owner.
func (s Store) Memory() string {
	if !s.private() {
		return ""
	}
	return filepath.Join(s.Dir, memoryFile)
}

// private says that the store is there, and that nobody else can read or change it.
func (s Store) private() bool {
	info, err := os.Stat(s.Dir)
	return err == nil && info.Mode().Perm()&othersAny == 0 && CheckSafe(s.Dir) == nil
}

func accessError(err error) error {
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case errors.Is(err, fs.ErrPermission):
		return fmt.Errorf("%w: %w", ErrNoAccess, err)
	}
	return err
}

// own makes the store, for its owner alone. An empty directory that the user
// made becomes so; one with something in it may be anything, and is refused.
func (s Store) own() error {
	if err := CheckSafe(s.Dir); err != nil {
		return err
	}
	if err := os.MkdirAll(s.Dir, 0o700); err != nil {
		return err
	}
	info, err := os.Stat(s.Dir)
	if err != nil || info.Mode().Perm()&othersAny == 0 {
		return err
	}
	entries, err := os.ReadDir(s.Dir)
	if err != nil {
		return err
	}
	if len(entries) > 0 {
		// Another run may have taken it over just now, and begun to fill it.
		if info, err := os.Stat(s.Dir); err != nil || info.Mode().Perm()&othersAny == 0 {
			return err
		}
		return fmt.Errorf("%w: %s may be read by others (mode %04o) and is not empty", ErrExposed, s.Dir, info.Mode().Perm())
	}
	return os.Chmod(s.Dir, 0o700)
}

// CheckSafe walks to a directory as the kernel does and returns ErrExposed
// when somebody other than root and this user owns a step of the way, or could
// replace one. Sticky directories such as /tmp may be on the way, not its end.
func CheckSafe(dir string) error {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return err
	}
	at, rest, links := "/", split(dir), 0
	for len(rest) > 0 {
		part := rest[0]
		rest = rest[1:]
		if part == ".." { // of a link
			at = filepath.Dir(at)
			continue
		}
		next := filepath.Join(at, part)
		info, err := os.Lstat(next)
		if err != nil {
			return accessError(err)
		}
		if uid, trusted := owner(info); !trusted {
			return fmt.Errorf("%w: %s belongs to user %d", ErrExposed, next, uid)
		}
		if info.Mode()&fs.ModeSymlink != 0 {
			to, err := os.Readlink(next)
			if err != nil {
				return err
			}
			if links++; links > maxLinks {
				return &fs.PathError{Op: "open", Path: dir, Err: syscall.ELOOP}
			}
			if filepath.IsAbs(to) {
				at = "/"
			}
			rest = append(split(to), rest...)
			continue
		}
		sticky := info.Mode()&fs.ModeSticky != 0 && len(rest) > 0
		if info.Mode().Perm()&othersWrite != 0 && !sticky {
			return fmt.Errorf("%w: %s may be written by others (mode %04o)", ErrExposed, next, info.Mode().Perm())
		}
		at = next
	}
	return nil
}

func split(path string) []string {
	return strings.FieldsFunc(path, func(r rune) bool { return r == '/' })
}

// owner says who owns a file, and whether that is root or this user. Whoever
// owns / can do anything: in a user namespace root goes by another number.
func owner(info fs.FileInfo) (uint32, bool) {
	st, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return 0, false
	}
	if st.Uid == 0 || int(st.Uid) == os.Geteuid() {
		return st.Uid, true
	}
	top, err := os.Stat("/")
	if err != nil {
		return st.Uid, false
	}
	root, ok := top.Sys().(*syscall.Stat_t)
	return st.Uid, ok && root.Uid == st.Uid
}
