package linux

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/moby/sys/mountinfo"
)

// Freezer is a cgroup that freezes and thaws the tasks in it.
type Freezer struct {
	dir string
	v2  bool
}

// Freezer returns the freezer of FreezerDir. It is an error, too, if that does
// not go by the name: then it is also others'.
func (c Cgroups) Freezer(name string) (Freezer, error) {
	dir, v2, err := c.mounted(freezerController, name)
	if err == nil && (name == "" || !strings.Contains(dir, name)) {
		err = fmt.Errorf("cgroup %s is not of %s alone", dir, name)
	}
	return Freezer{dir: dir, v2: v2}, err
}

// FreezerAt returns the freezer of a directory that Dir gave.
func FreezerAt(dir string) Freezer {
	_, err := os.Stat(filepath.Join(dir, "freezer.state"))
	return Freezer{dir: dir, v2: err != nil}
}

// FindFreezer returns the freezer of the cgroup that goes by the name, wherever
// one is mounted. It is an error if there is none.
func FindFreezer(name string) (Freezer, error) {
	list, err := mountinfo.GetMounts(nil)
	if err != nil {
		return Freezer{}, err
	}
	// Where the freezer is v1's, v2 may have a cgroup of that name, too.
	slices.SortStableFunc(list, func(a, b *mountinfo.Info) int { return strings.Compare(a.FSType, b.FSType) })
	for _, m := range list {
		if m.FSType != "cgroup2" && !IsHierarchy(m, freezerController) {
			continue
		}
		if dir := below(m.Mountpoint, name); dir != "" {
			return FreezerAt(dir), nil
		}
	}
	return Freezer{}, fmt.Errorf("no freezer cgroup of %s", name)
}

// below returns the first directory in a tree that has the name in its own;
// empty for none.
func below(root, name string) (dir string) {
	_ = filepath.WalkDir(root, func(path string, e fs.DirEntry, err error) error {
		if err == nil && e.IsDir() && strings.Contains(e.Name(), name) {
			dir = path
			return fs.SkipAll
		}
		return nil // also of one that is being removed
	})
	return dir
}

// Dir is the cgroup's directory on the host.
func (f Freezer) Dir() string { return f.dir }

// File is the one that holds the state of the freezer.
func (f Freezer) File() string {
	if f.v2 {
		return filepath.Join(f.dir, "cgroup.freeze")
	}
	return filepath.Join(f.dir, "freezer.state")
}

// Freeze asks the kernel to freeze the tasks, and does not wait for it.
func (f Freezer) Freeze() error {
	if f.v2 {
		return f.write("1")
	}
	return f.write("FROZEN")
}

// Hold freezes the tasks, and returns when all are frozen. After an error, which
// is the context's while one of them cannot be, they may be frozen.
func (f Freezer) Hold(ctx context.Context) error {
	for wait := 50 * time.Microsecond; ; wait = min(2*wait, 5*time.Millisecond) {
		// On v1 a task that was made meanwhile wants to be told, too.
		if err := f.Freeze(); err != nil {
			return err
		}
		held, err := f.held()
		if err != nil || held {
			return err
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("cgroup %s does not freeze: %w", f.dir, ctx.Err())
		case <-time.After(wait):
		}
	}
}

// held says whether all tasks are frozen, see Documentation/admin-guide/
// cgroup-v1/freezer-subsystem.rst and cgroup-v2.rst.
func (f Freezer) held() (bool, error) {
	if !f.v2 {
		data, err := os.ReadFile(f.File())
		return strings.TrimSpace(string(data)) == "FROZEN", err
	}
	data, err := os.ReadFile(filepath.Join(f.dir, "cgroup.events"))
	return slices.Contains(strings.Split(string(data), "\n"), "frozen 1"), err
}

// Tasks returns the processes in the cgroup and in those below.
func (f Freezer) Tasks() (pids []int, err error) {
	err = filepath.WalkDir(f.dir, func(path string, e fs.DirEntry, err error) error {
		if err != nil || !e.IsDir() {
			return err
		}
		data, err := os.ReadFile(filepath.Join(path, "cgroup.procs"))
		for _, field := range strings.Fields(string(data)) {
			if pid, err := strconv.Atoi(field); err == nil {
				pids = append(pids, pid)
			}
		}
		return err
	})
	return pids, err
}

func (f Freezer) thawed() string {
	if f.v2 {
		return "0"
	}
	return "THAWED"
}

// Thaw lets the tasks run on.
func (f Freezer) Thaw() error { return f.write(f.thawed()) }

// Frozen says whether the tasks are frozen, or on their way to it.
func (f Freezer) Frozen() bool {
	data, err := os.ReadFile(f.File())
	return err == nil && strings.TrimSpace(string(data)) != f.thawed()
}

// write creates nothing: cgroups are often mounted on a tmpfs.
func (f Freezer) write(state string) error {
	file, err := os.OpenFile(f.File(), os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	_, err = file.WriteString(state)
	return errors.Join(err, file.Close())
}
