package runtime

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"github.com/checkpointctl/checkpointctl/internal/linux"
)

// runcDirs are where runc (1.1) keeps what it knows of Docker's containers,
// below the daemon's exec-root.
const runcDirs = "/run/docker*/runtime-*/moby/"

// criuRoot is where runc mounts the root filesystem for a restore.
const criuRoot = "criu-root"

// KilledStarts lists what runc left of starts that ended with Docker, of one
// container or of all for an empty ID: directories without a state. While one is
// there runc refuses each start of the container, and Docker (20.10) waits for
// ever.
func KilledStarts(id string) []string {
	if id == "" {
		id = "*"
	}
	var list []string
	found, _ := filepath.Glob(runcDirs + id)
	for _, dir := range found {
		if hasNoState(dir) && !atWork(filepath.Base(dir)) {
			list = append(list, dir)
		}
	}
	return list
}

// RemoveKilledStart removes one of KilledStarts. `runc delete --force` would
// remove what is mounted in it, the container's files.
func RemoveKilledStart(dir string) error {
	root := filepath.Join(dir, criuRoot)
	if err := unix.Unmount(root, unix.MNT_DETACH|unix.UMOUNT_NOFOLLOW); err != nil && !errors.Is(err, unix.EINVAL) && !errors.Is(err, unix.ENOENT) {
		return &os.PathError{Op: "unmount", Path: root, Err: err}
	}
	if err := os.Remove(root); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	return os.Remove(dir)
}

// hasNoState says whether the directory holds nothing but the place of the root
// filesystem.
func hasNoState(dir string) bool {
	entries, err := os.ReadDir(dir)
	return err == nil && (len(entries) == 0 || len(entries) == 1 && entries[0].Name() == criuRoot)
}

// atWork says whether a runc is at work on the container.
func atWork(id string) bool {
	for _, p := range linux.PIDs() {
		line, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", p))
		if err == nil && bytes.Contains(line, []byte("\x00--root\x00")) && bytes.HasSuffix(line, []byte("\x00"+id+"\x00")) {
			return true
		}
	}
	return false
}
