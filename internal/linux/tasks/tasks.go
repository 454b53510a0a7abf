// Package tasks reads what /proc says of a process and of all that descend from
// it: the tree that CRIU dumps.
package tasks

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"runtime"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"
)

// Task is one process. Pids are those of the reader's pid namespace.
type Task struct {
	PID        int
	Name       string // of its program, cut to 15 bytes
	Tracer     int    // the pid of who traces one of its threads; 0 for nobody
	TracerName string
	Namespaces map[string]string // by type, like net:[4026531840]; empty for a zombie
	UIDs       [3]int            // real, effective and saved
	Files      []File
	Maps       []Mapping
}

// File is a descriptor and what its link in /proc/PID/fd says.
type File struct {
	FD     int
	Target string
	// Interface is the network interface that a TUN descriptor is attached to.
	Interface string
	// Unlinked is a file whose name was removed; nil for others.
	Unlinked *Unlinked
	// Watches are those of an inotify or fanotify descriptor.
	Watches []Watch
	// Readable says that a pipe is open for reading, after MarkReadable.
	Readable bool
}

// Watch is a file that inotify or fanotify reports on, as stat(2) has it.
type Watch struct{ Dev, Inode uint64 }

// Socket returns the inode of a socket; 0 for what is none.
func (f File) Socket() uint64 {
	text, ok := strings.CutPrefix(f.Target, "socket:[")
	if !ok {
		return 0
	}
	inode, _ := strconv.ParseUint(strings.TrimSuffix(text, "]"), 10, 64)
	return inode
}

// Pipe says whether it is a pipe without a name.
func (f File) Pipe() bool { return strings.HasPrefix(f.Target, "pipe:[") }

// MarkReadable finds out which pipes are open for reading. It is no part of Tree,
// because it takes a call for each.
func MarkReadable(list []Task) {
	for _, t := range list {
		for i := range t.Files {
			if f := &t.Files[i]; f.Pipe() {
				// The link's mode is that of the descriptor, proc_pid_fd(5).
				var st unix.Stat_t
				err := unix.Lstat(fmt.Sprintf("/proc/%d/fd/%d", t.PID, f.FD), &st)
				f.Readable = err == nil && st.Mode&unix.S_IRUSR != 0
			}
		}
	}
}

// Path returns the target without the note that its name was removed.
func (f File) Path() string { return strings.TrimSuffix(f.Target, deleted) }

// Unlinked is a regular file whose name was removed.
type Unlinked struct {
	Links int   // other names that it has
	Size  int64 // in bytes, without holes
	Inode uint64
}

// Tree returns a process and its descendants, itself first. A process that ends
// meanwhile is left out. The error is that of the root: it wraps
// os.ErrNotExist when the root has ended, and os.ErrPermission when its
// descriptors may not be read.
func Tree(root int) ([]Task, error) {
	buffers := make(chan *buffer, runtime.NumCPU())
	for range cap(buffers) {
		buffers <- newBuffer()
	}
	t, children, err := read(root, newBuffer())
	if err != nil {
		return nil, fmt.Errorf("process %d: %w", root, err)
	}
	list := []Task{t}
	for len(children) > 0 { // one generation after the other
		found, grown := make([]Task, len(children)), make([][]int, len(children))
		var all errgroup.Group
		all.SetLimit(cap(buffers))
		for i, pid := range children {
			all.Go(func() error {
				buf := <-buffers
				defer func() { buffers <- buf }()
				if t, more, err := read(pid, buf); err == nil {
					found[i], grown[i] = t, more
				}
				return nil
			})
		}
		_ = all.Wait()
		list = append(list, slices.DeleteFunc(found, func(t Task) bool { return t.PID == 0 })...)
		children = slices.Concat(grown...)
	}
	return list, nil
}

// read returns a process and the pids of its children.
func read(pid int, buf *buffer) (t Task, children []int, err error) {
	t = Task{PID: pid, Namespaces: map[string]string{}}
	dir, err := open("/proc/"+strconv.Itoa(pid), buf)
	if err != nil {
		return t, nil, err
	}
	defer dir.close()
	status, err := dir.read("status")
	if err != nil {
		return t, nil, err
	}
	t.Name, t.Tracer = field(status, "Name"), number(field(status, "TracerPid"))
	for i, id := range strings.Fields(field(status, "Uid")) {
		if i < len(t.UIDs) {
			t.UIDs[i] = number(id)
		}
	}
	if field(status, "Threads") == "1" {
		children = dir.children(strconv.Itoa(pid))
	} else if children, err = t.threads(dir); err != nil {
		return t, nil, err
	}
	if t.Tracer != 0 {
		name, _ := os.ReadFile(fmt.Sprintf("/proc/%d/comm", t.Tracer))
		t.TracerName = strings.TrimSpace(string(name))
	}
	for _, kind := range [...]string{"cgroup", "ipc", "mnt", "net", "pid", "time", "user", "uts"} {
		if link := dir.link("ns/" + kind); link != "" {
			t.Namespaces[kind] = link
		}
	}
	t.Maps = maps(dir)
	t.Files, err = files(dir)
	return t, children, err
}

// threads looks at each thread of a process, which may have a tracer and children of
// its own, and returns the pids of all children.
func (t *Task) threads(dir *directory) (children []int, err error) {
	return dir.eachThread(func(_ int, status []byte) {
		if by := number(field(status, "TracerPid")); by != 0 {
			t.Tracer = by
		}
	})
}

// children returns the pids of a thread's children. It needs CONFIG_PROC_CHILDREN,
// as CRIU does.
func (d *directory) children(thread string) (pids []int) {
	text, _ := d.read("task/" + thread + "/children")
	for _, pid := range strings.Fields(string(text)) {
		pids = append(pids, number(pid))
	}
	return pids
}

// field returns a field of a status file; empty when it has none of the name.
func field(status []byte, name string) string {
	rest, found := bytes.CutPrefix(status, []byte(name+":"))
	if !found {
		if _, rest, found = bytes.Cut(status, []byte("\n"+name+":")); !found {
			return ""
		}
	}
	value, _, _ := bytes.Cut(rest, []byte{'\n'})
	return string(bytes.TrimSpace(value))
}

func files(dir *directory) ([]File, error) {
	d, err := dir.in("fd")
	if err != nil {
		return nil, err
	}
	defer d.close()
	names, err := d.names()
	if errors.Is(err, unix.ESRCH) || errors.Is(err, os.ErrNotExist) {
		return nil, nil // it ends
	}
	if err != nil {
		return nil, err
	}
	list := make([]File, 0, len(names))
	for _, name := range names {
		target := d.link(name)
		if target == "" {
			continue // closed meanwhile
		}
		f := File{FD: number(name), Target: target}
		if target == "/dev/net/tun" {
			info, _ := dir.read("fdinfo/" + name)
			f.Interface = field(info, "iff")
		}
		if target == "anon_inode:inotify" || target == "anon_inode:[fanotify]" {
			info, _ := dir.read("fdinfo/" + name)
			f.Watches = watches(info)
		}
		if strings.HasSuffix(target, deleted) {
			f.Unlinked = d.unlinked(name)
		}
		list = append(list, f)
	}
	return list, nil
}

// watches reads the lines of inotify and fanotify in fdinfo, proc_pid_fdinfo(5).
// Watches of a whole mount or filesystem have no inode.
func watches(info []byte) (list []Watch) {
	for line := range strings.Lines(string(info)) {
		var inode, dev uint64
		for _, f := range strings.Fields(line) {
			name, value, _ := strings.Cut(f, ":")
			n, err := strconv.ParseUint(value, 16, 64)
			switch {
			case err != nil:
			case name == "ino":
				inode = n
			case name == "sdev":
				dev = n
			}
		}
		if inode != 0 && strings.Contains(line, "notify ") {
			// The kernel's own form of a device number, MKDEV in linux/kdev_t.h.
			list = append(list, Watch{Dev: unix.Mkdev(uint32(dev>>20), uint32(dev&(1<<20-1))), Inode: inode})
		}
	}
	return list
}
