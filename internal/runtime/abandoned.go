package runtime

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"
)

// Abandoned is a restore whose checkpointctl and agent are gone.
type Abandoned struct {
	ID  string
	Dir string
}

// FindAbandoned lists the restores that nobody is at work on, of one container
// or, for an empty ID, of all.
func FindAbandoned(id string) []Abandoned {
	if id == "" {
		id = "*"
	}
	var list []Abandoned
	dirs, _ := filepath.Glob(filepath.Join(ControlDir, id))
	for _, dir := range dirs {
		if !IsContainerID(filepath.Base(dir)) {
			continue
		}
		p := &Pending{Control: Control{dir}}
		if p.take() == nil {
			list = append(list, Abandoned{ID: filepath.Base(dir), Dir: dir})
			_ = p.owner.Close()
		}
	}
	return list
}

// Recover ends what is left of the restore and removes its directory, and its
// link when no other restore needs it.
func (a Abandoned) Recover() error {
	p := &Pending{Control: Control{a.Dir}}
	err := p.take()
	if errors.Is(err, ErrBusy) || errors.Is(err, os.ErrNotExist) {
		return nil // begun again, or removed
	}
	if err != nil {
		return err
	}
	// With its hook gone, CRIU undoes what it has done.
	if tasks, err := p.Noted(); err == nil && p.Claimed() {
		tasks.Runc.Await(10 * time.Second)
		tasks.Runc.Kill()
		tasks.CRIU.Kill()
	}
	if link, err := os.ReadFile(p.Path(linkFile)); err == nil {
		p.link = string(link)
	}
	return p.Close()
}

// runcDirs are where runc keeps what it knows of Docker's containers, below the
// daemon's exec-root.
var runcDirs = [...]string{"/run/docker*/runtime-*/moby/", "/run/docker*/containerd/runtime-*/moby/"}

// criuRoot is where runc mounts the root filesystem for a restore.
const criuRoot = "criu-root"

// FindStateless lists what runc left of starts that ended with it: directories
// without a state. While one is there runc refuses each start of the container.
func FindStateless(id string) []string {
	if id == "" {
		id = "*"
	}
	var list []string
	for _, root := range runcDirs {
		found, _ := filepath.Glob(root + id)
		for _, dir := range found {
			if stateless(dir) && !atWork(filepath.Base(dir)) {
				list = append(list, dir)
			}
		}
	}
	return list
}

// stateless says whether the directory holds nothing but the place of the root
// filesystem.
func stateless(dir string) bool {
	entries, err := os.ReadDir(dir)
	return err == nil && (len(entries) == 0 || len(entries) == 1 && entries[0].Name() == criuRoot)
}

// atWork says whether a runc is at work on the container.
func atWork(id string) bool {
	procs, _ := filepath.Glob("/proc/[0-9]*/cmdline")
	for _, file := range procs {
		line, err := os.ReadFile(file)
		if err == nil && bytes.Contains(line, []byte("\x00--root\x00")) && bytes.HasSuffix(line, []byte("\x00"+id+"\x00")) {
			return true
		}
	}
	return false
}

// RemoveStateless removes such a directory. `runc delete --force` would remove
// what is mounted in it, too: the container's files.
func RemoveStateless(dir string) error {
	root := filepath.Join(dir, criuRoot)
	err := unix.Unmount(root, unix.MNT_DETACH|unix.UMOUNT_NOFOLLOW)
	if err != nil && !errors.Is(err, unix.EINVAL) && !errors.Is(err, unix.ENOENT) {
		return &os.PathError{Op: "unmount", Path: root, Err: err}
	}
	if err := os.Remove(root); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	return os.Remove(dir)
}
