package script

import (
	"errors"
	"os"
	"path/filepath"
	"strconv"

	"github.com/checkpointctl/checkpointctl/internal/linux"
)

// cgroup is where a container's own freezer cgroup is, below that of the tests.
func (b *box) cgroup() (string, error) {
	ours, err := linux.ReadCgroups(os.Getpid())
	if err != nil {
		return "", err
	}
	dir, err := ours.FreezerDir("")
	return filepath.Join(dir, b.id), err
}

// freezes says whether the containers have one: it takes root.
func freezes() bool {
	b := box{id: "checkpointctl-probe-" + strconv.Itoa(os.Getpid())}
	dir, err := b.cgroup()
	return err == nil && os.Mkdir(dir, 0o755) == nil && os.Remove(dir) == nil
}

func (b *box) enterCgroup() error {
	if !freezes() {
		return nil
	}
	dir, err := b.cgroup()
	if err != nil {
		return err
	}
	if err := os.Mkdir(dir, 0o755); err != nil && !errors.Is(err, os.ErrExist) {
		return err
	}
	return os.WriteFile(filepath.Join(dir, "cgroup.procs"), []byte(strconv.Itoa(b.cmd.Process.Pid)), 0o600)
}

// leaveCgroup removes the cgroup of a container that has ended.
func (b *box) leaveCgroup() error {
	dir, err := b.cgroup()
	if err != nil {
		return nil // there was none
	}
	if err := os.Remove(dir); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	return nil
}
