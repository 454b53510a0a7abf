package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// restoreBare restores by criu alone what Docker has no part in: the container's
// layers are mounted before, and its network namespace stays empty.
func (b *box) restoreBare(s *Series, images string) (err error) {
	root, err := b.mountLayers()
	if err != nil {
		return err
	}
	defer func() {
		err = errors.Join(err, unix.Unmount(root, unix.MNT_DETACH), os.Remove(root))
	}()
	work := filepath.Join(b.dir, "work")
	if err := os.Mkdir(work, 0o700); err != nil {
		return err
	}
	defer os.RemoveAll(work)
	args, pipes, err := bareRestoreArgs(images, work, root)
	if err != nil {
		return err
	}
	defer func() {
		for _, f := range pipes {
			_ = f.Close()
		}
	}()
	ok, err := b.timeRestore(s, func() (ran, error) {
		cmd := exec.Command("criu", args...)
		cmd.ExtraFiles = pipes
		began := time.Now()
		out, err := cmd.CombinedOutput()
		if err != nil {
			err = fmt.Errorf("criu restore: %w: %s\nlog file: %s", err, out, filepath.Join(work, "restore.log"))
		}
		return ran{began: began, took: time.Since(began)}, err
	})
	if err != nil || !ok {
		return err
	}
	err = endInit(filepath.Join(work, "pid"))
	b.removeCgroups()
	return err
}

// removeCgroups removes those that CRIU made: Docker does not know of them.
func (b *box) removeCgroups() {
	found, _ := filepath.Glob("/sys/fs/cgroup/*/docker/" + b.id)
	for _, dir := range found {
		_ = os.Remove(dir)
	}
}

// mountLayers mounts the container's root filesystem, as Docker does at a start.
func (b *box) mountLayers() (string, error) {
	r, err := execute(b.ctx, "docker", "inspect", "-f", "{{json .GraphDriver.Data}}", b.name)
	if err != nil {
		return "", err
	}
	var d struct{ LowerDir, UpperDir, WorkDir string }
	if err := json.Unmarshal([]byte(r.stdout), &d); err != nil {
		return "", err
	}
	root := filepath.Join(b.dir, "root")
	if err := os.Mkdir(root, 0o700); err != nil {
		return "", err
	}
	err = unix.Mount("overlay", root, "overlay", 0, "lowerdir="+d.LowerDir+",upperdir="+d.UpperDir+",workdir="+d.WorkDir)
	if err == nil {
		// The dumped one was a slave of Docker's.
		err = unix.Mount("", root, "", unix.MS_SHARED, "")
	}
	return root, err
}

// bareRestoreArgs are criu's arguments for what runc would ask of it, and the
// files that they refer to, from descriptor 3 on.
func bareRestoreArgs(images, work, root string) ([]string, []*os.File, error) {
	var rec struct {
		CgroupPath string `json:"cgroup_path"`
		Mounts     []struct{ Path, Action, Value, Source string }
	}
	var descriptors []string
	for name, to := range map[string]any{"container.json": &rec, "descriptors.json": &descriptors} {
		data, err := os.ReadFile(filepath.Join(images, name))
		if err == nil {
			err = json.Unmarshal(data, to)
		}
		if err != nil {
			return nil, nil, err
		}
	}
	args := []string{
		"restore", "-D", images, "-W", work, "-o", "restore.log", "-v4", "--root", root, "--restore-detached",
		"--pidfile", filepath.Join(work, "pid"), "--manage-cgroups=soft", "--tcp-established", "--file-locks",
	}
	for _, m := range rec.Mounts {
		if m.Action != "external" {
			continue
		}
		source := m.Source
		switch {
		case strings.HasPrefix(m.Path, "/sys/fs/cgroup/"):
			source = m.Path + rec.CgroupPath
		case source == "":
			source = m.Value
		}
		args = append(args, "--external", "mnt["+m.Value+"]:"+source)
	}
	var pipes []*os.File
	for _, d := range descriptors {
		if !strings.HasPrefix(d, "pipe:") {
			continue
		}
		from, to, err := os.Pipe()
		if err != nil {
			return nil, pipes, err
		}
		args = append(args, "--inherit-fd", fmt.Sprintf("fd[%d]:%s", 3+len(pipes), d))
		pipes = append(pipes, to, from)
	}
	return args, pipes, nil
}

// endInit kills the restored init and waits until it is gone.
func endInit(pidFile string) error {
	data, err := os.ReadFile(pidFile)
	if err != nil {
		return err
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(data)))
	if err != nil {
		return err
	}
	fd, err := unix.PidfdOpen(pid, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	if err := unix.PidfdSendSignal(fd, syscall.SIGKILL, nil, 0); err != nil {
		return err
	}
	n, err := unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, 60_000)
	if n == 0 && err == nil {
		err = fmt.Errorf("process %d does not end", pid)
	}
	return err
}
