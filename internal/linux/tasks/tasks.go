// Package tasks reads what /proc says of a process and of all that descend from
// it: the tree that CRIU dumps.
package tasks

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
)

// Task is one process. Pids are those of the reader's pid namespace.
type Task struct {
	PID        int
	Name       string // of its program, cut to 15 bytes
	Tracer     int    // the pid of who traces one of its threads; 0 for nobody
	TracerName string
	Namespaces map[string]string // by type, like net:[4026531840]; empty for a zombie
	Files      []File
}

// File is a descriptor and what its link in /proc/PID/fd says.
type File struct {
	FD     int
	Target string
	// Interface is the network interface that a TUN descriptor is attached to.
	Interface string
}

// Tree returns a process and its descendants, itself first. A process that ends
// meanwhile is left out. The error is that of the root: it wraps
// os.ErrNotExist when the root has ended, and os.ErrPermission when its
// descriptors may not be read.
func Tree(root int) ([]Task, error) {
	t, children, err := read(root)
	if err != nil {
		return nil, fmt.Errorf("process %d: %w", root, err)
	}
	list := []Task{t}
	for len(children) > 0 {
		pid := children[0]
		children = children[1:]
		t, more, err := read(pid)
		if err != nil {
			continue
		}
		list, children = append(list, t), append(children, more...)
	}
	return list, nil
}

// read returns a process and the pids of its children.
func read(pid int) (t Task, children []int, err error) {
	dir := filepath.Join("/proc", strconv.Itoa(pid))
	t = Task{PID: pid, Namespaces: map[string]string{}}
	threads, err := os.ReadDir(filepath.Join(dir, "task"))
	if err != nil {
		return t, nil, err
	}
	for _, thread := range threads {
		status, err := os.ReadFile(filepath.Join(dir, "task", thread.Name(), "status"))
		if err != nil {
			continue // it has ended
		}
		if thread.Name() == strconv.Itoa(pid) {
			t.Name = field(status, "Name")
		}
		if by, _ := strconv.Atoi(field(status, "TracerPid")); by != 0 {
			t.Tracer = by
		}
		// Needs CONFIG_PROC_CHILDREN, as CRIU does.
		text, _ := os.ReadFile(filepath.Join(dir, "task", thread.Name(), "children"))
		for _, c := range strings.Fields(string(text)) {
			if n, err := strconv.Atoi(c); err == nil {
				children = append(children, n)
			}
		}
	}
	if t.Tracer != 0 {
		name, _ := os.ReadFile(fmt.Sprintf("/proc/%d/comm", t.Tracer))
		t.TracerName = strings.TrimSpace(string(name))
	}
	for _, kind := range [...]string{"cgroup", "ipc", "mnt", "net", "pid", "time", "user", "uts"} {
		if link, err := os.Readlink(filepath.Join(dir, "ns", kind)); err == nil {
			t.Namespaces[kind] = link
		}
	}
	t.Files, err = files(dir)
	return t, children, err
}

// field returns a field of a status file; empty when it has none of the name.
func field(status []byte, name string) string {
	_, rest, found := bytes.Cut(append([]byte{'\n'}, status...), []byte("\n"+name+":"))
	if !found {
		return ""
	}
	value, _, _ := bytes.Cut(rest, []byte{'\n'})
	return strings.TrimSpace(string(value))
}

func files(dir string) ([]File, error) {
	d, err := os.Open(filepath.Join(dir, "fd"))
	if err != nil {
		return nil, err
	}
	defer d.Close()
	names, err := d.Readdirnames(-1)
	if errors.Is(err, syscall.ESRCH) || errors.Is(err, os.ErrNotExist) {
		return nil, nil // it ends
	}
	if err != nil {
		return nil, err
	}
	list := make([]File, 0, len(names))
	for _, name := range names {
		target, err := os.Readlink(filepath.Join(dir, "fd", name))
		if err != nil {
			continue // closed meanwhile
		}
		f := File{Target: target}
		f.FD, _ = strconv.Atoi(name)
		if target == "/dev/net/tun" {
			info, _ := os.ReadFile(filepath.Join(dir, "fdinfo", name))
			f.Interface = field(info, "iff")
		}
		list = append(list, f)
	}
	return list, nil
}
