package layer

import (
	"errors"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"
)

// Tree is a tree that is to take the place of another.
type Tree struct {
	Live  string `json:"live"`  // where it is to be
	Other string `json:"other"` // beside it: the new tree, and the old one afterwards
	Inode uint64 `json:"inode"` // of the new one
}

const besideSuffix = ".checkpointctl"

// Beside names a place for a new tree beside one, on its filesystem.
func Beside(live string) Tree { return Tree{Live: live, Other: live + besideSuffix} }

// Make makes the new tree, empty. One that was there is removed. os.ErrInvalid if
// the tree is mounted there by itself.
func (t *Tree) Make() (err error) {
	if err = Remove(t.Other); err == nil {
		err = os.Mkdir(t.Other, 0o700)
	}
	if err == nil {
		t.Inode, err = sameFilesystem(t.Live, t.Other)
	}
	return err
}

// Swap lets the two change places, in one step that a crash leaves done or not.
func (t Tree) Swap() error {
	if err := unix.Renameat2(unix.AT_FDCWD, t.Other, unix.AT_FDCWD, t.Live, unix.RENAME_EXCHANGE); err != nil {
		return &os.LinkError{Op: "exchange", Old: t.Other, New: t.Live, Err: err}
	}
	return t.sync()
}

// Swapped says whether the new tree is in its place.
func (t Tree) Swapped() (bool, error) {
	var st unix.Stat_t
	if err := unix.Lstat(t.Live, &st); err != nil {
		return false, &os.PathError{Op: "lstat", Path: t.Live, Err: err}
	}
	return st.Ino == t.Inode, nil
}

func (t Tree) sync() error {
	d, err := os.Open(filepath.Dir(t.Live))
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// Sync writes the new tree through to the disk, with all else on its filesystem:
// one file after the other would take much longer.
func (t Tree) Sync() error {
	d, err := os.Open(t.Other)
	if err != nil {
		return err
	}
	return errors.Join(unix.Syncfs(int(d.Fd())), d.Close())
}

// Remove removes a tree, also what the flags of files hold. One that is not there
// is no error.
func Remove(dir string) error {
	err := os.RemoveAll(dir)
	if !errors.Is(err, unix.EPERM) {
		return err
	}
	if err := clearFlags(dir); err != nil {
		return err
	}
	return os.RemoveAll(dir)
}

func clearFlags(dir string) error {
	all := 0
	for _, f := range fileFlags {
		all |= f.flag
	}
	return filepath.WalkDir(dir, func(at string, d os.DirEntry, err error) error {
		if err != nil || !d.IsDir() && !d.Type().IsRegular() {
			return err
		}
		// Not every filesystem has flags.
		if err := changeFlags(unix.AT_FDCWD, at, 0, all); !errors.Is(err, unix.ENOTTY) {
			return err
		}
		return nil
	})
}

// changeFlags adds and drops flags of a file or directory.
func changeFlags(dir int, name string, add, drop int) error {
	fd, err := unix.Openat(dir, name, unix.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	flags, err := unix.IoctlGetInt(fd, unix.FS_IOC_GETFLAGS)
	if err != nil || flags&drop == 0 && flags&add == add {
		return err
	}
	return unix.IoctlSetPointerInt(fd, unix.FS_IOC_SETFLAGS, flags&^drop|add)
}

const markXattr = ownXattrs + "files"

// Mark notes at a tree what it is of, and returns a moment: whatever is changed
// in it from then on has a ctime of that moment or later, and all else an earlier
// one. The note goes with the tree.
func Mark(dir, of string) (time.Time, error) {
	for ahead := 20 * time.Millisecond; ; ahead *= 2 {
		// The note changes the tree's own time: it speaks of a moment yet to come.
		moment := time.Now().Add(ahead).Round(0)
		if err := unix.Lsetxattr(dir, markXattr, []byte(of+" "+moment.UTC().Format(time.RFC3339Nano)), 0); err != nil {
			return moment, &os.PathError{Op: "setxattr", Path: dir, Err: err}
		}
		var st unix.Statx_t
		if err := unix.Statx(unix.AT_FDCWD, dir, 0, wanted, &st); err != nil {
			return moment, err
		}
		for at(coarse()).Before(moment) {
			time.Sleep(time.Millisecond)
		}
		if at(st.Ctime).Before(moment) {
			return moment, nil
		}
	}
}

// Marked returns what Mark noted, if it is of the same.
func Marked(dir, of string) (time.Time, bool) {
	value, err := sized(func(buf []byte) (int, error) { return unix.Lgetxattr(dir, markXattr, buf) })
	if err != nil || len(value) <= len(of) || string(value[:len(of)+1]) != of+" " {
		return time.Time{}, false
	}
	moment, err := time.Parse(time.RFC3339Nano, string(value[len(of)+1:]))
	return moment, err == nil
}
