package layer

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// Rollback are trees that take the place of others together. It is noted in a file
// before anything is done: a run that is killed leaves it to the next one.
type Rollback struct {
	ID         string    `json:"id"` // of the container
	Container  string    `json:"container"`
	Checkpoint string    `json:"checkpoint"`
	Began      time.Time `json:"began"`
	Trees      []Tree    `json:"trees"`
	// Swapping says that the new trees are whole, and some may be in their places.
	Swapping bool `json:"swapping"`
	// Done says that what was there before is of no use any more.
	Done bool `json:"done"`
}

// Undo puts what was there back, and removes the new trees.
func (b Rollback) Undo() error {
	var errs []error
	for _, t := range b.Trees {
		err := t.check()
		if err == nil && b.Swapping {
			err = t.swapBack()
		}
		if err == nil {
			err = Remove(t.Other)
		}
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

// Finish removes what was there before.
func (b Rollback) Finish() error {
	var errs []error
	for _, t := range b.Trees {
		err := t.check()
		if err == nil {
			err = Remove(t.Other)
		}
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

// swapBack does nothing if the new tree is not in its place, or if all is gone.
func (t Tree) swapBack() error {
	swapped, err := t.Swapped()
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil || !swapped {
		return err
	}
	if _, err := os.Lstat(t.Other); err != nil {
		return err
	}
	return t.Swap()
}

// check refuses what a note that was changed might want to be removed.
func (t Tree) check() error {
	if t.Live == "" || t.Other != t.Live+besideSuffix {
		return fmt.Errorf("%q is not beside %q", t.Other, t.Live)
	}
	return nil
}

// InUse says whether some overlay has the tree as its upper directory, or the
// directory is a mount point, as far as this mount namespace shows.
func InUse(live string) (bool, error) {
	table, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return false, err
	}
	return mountedIn(string(table), live), nil
}

func mountedIn(table, live string) bool {
	for line := range strings.Lines(table) {
		fields := strings.Fields(line)
		if len(fields) > 4 && fields[4] == live {
			return true
		}
		options := strings.Split(fields[len(fields)-1], ",")
		if slices.Contains(options, "upperdir="+live) {
			return true
		}
	}
	return false
}

// sameFilesystem refuses a tree that is mounted by itself.
func sameFilesystem(live, other string) (inode uint64, err error) {
	var old, now unix.Statx_t
	err = unix.Statx(unix.AT_FDCWD, live, unix.AT_SYMLINK_NOFOLLOW, wanted, &old)
	if err != nil {
		return 0, &os.PathError{Op: "statx", Path: live, Err: err}
	}
	err = unix.Statx(unix.AT_FDCWD, other, unix.AT_SYMLINK_NOFOLLOW, wanted, &now)
	if err == nil && (old.Mnt_id != now.Mnt_id || old.Mode&unix.S_IFMT != unix.S_IFDIR) {
		err = fmt.Errorf("%w: %s is a mount point, or no directory: another cannot take its place", os.ErrInvalid, live)
	}
	return now.Ino, err
}
