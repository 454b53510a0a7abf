package layer

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"sync"

	"golang.org/x/sys/unix"
)

const (
	walkers  = 8    // directories that are read at once
	maxDepth = 2048 // of directories in each other: no path that the kernel takes is deeper
)

// walk is one look at a whole tree.
type walk struct {
	ctx     context.Context
	mountID uint64
	// each is called for every file, by many at once. The directory that it is in
	// is open.
	each    func(dir int, name string, n *node) error
	slots   chan struct{}
	running sync.WaitGroup
	mu      sync.Mutex // of what is below
	nodes   []*node
	err     error
}

// run returns all nodes of a tree, the top among them, in no order. A file that
// goes away meanwhile is left out, and so is what is mounted in the tree.
func (w *walk) run(top string) ([]*node, error) {
	fd, err := unix.Open(top, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC|unix.O_NOATIME, 0)
	if err != nil {
		return nil, &os.PathError{Op: "open", Path: top, Err: err}
	}
	dir := os.NewFile(uintptr(fd), top)
	var st unix.Statx_t
	if err := unix.Statx(fd, "", unix.AT_EMPTY_PATH, wanted, &st); err != nil {
		return nil, errors.Join(err, dir.Close())
	}
	w.mountID, w.slots = st.Mnt_id, make(chan struct{}, walkers)
	n := newNode(".", &st)
	if err := w.each(fd, ".", n); err != nil {
		return nil, errors.Join(err, dir.Close())
	}
	w.nodes = append(w.nodes, n)
	w.read(dir, ".", 0)
	w.running.Wait()
	return w.nodes, w.err
}

// gone says whether an error is of a file that is there no more.
func gone(err error) bool {
	return errors.Is(err, unix.ENOENT) || errors.Is(err, unix.ENOTDIR) || errors.Is(err, unix.ESTALE)
}

func (w *walk) fail(at string, err error) {
	if err == nil || gone(err) {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.err == nil {
		w.err = fmt.Errorf("%s: %w", at, err)
	}
}

func (w *walk) failed() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.err != nil
}

// read looks at all that is in a directory, and closes it.
func (w *walk) read(dir *os.File, at string, depth int) {
	defer dir.Close()
	fd := int(dir.Fd())
	var found []*node
	defer func() {
		w.mu.Lock()
		w.nodes = append(w.nodes, found...)
		w.mu.Unlock()
	}()
	for !w.failed() {
		names, err := dir.Readdirnames(1024)
		for _, name := range names {
			n, err := w.entry(fd, at, name)
			w.fail(join(at, name), err)
			if err != nil {
				continue
			}
			if n != nil {
				found = append(found, n)
			}
			if n != nil && n.is(unix.S_IFDIR) {
				w.descend(fd, n.path, name, depth+1)
			}
		}
		if w.ctx.Err() != nil {
			err = w.ctx.Err()
		}
		if errors.Is(err, io.EOF) {
			return
		}
		if err != nil {
			w.fail(at, err)
			return
		}
	}
}

// entry returns nil for what belongs to another filesystem.
func (w *walk) entry(fd int, at, name string) (*node, error) {
	var st unix.Statx_t
	if err := unix.Statx(fd, name, unix.AT_SYMLINK_NOFOLLOW|unix.AT_NO_AUTOMOUNT, wanted, &st); err != nil {
		return nil, err
	}
	if st.Mnt_id != w.mountID {
		return nil, nil
	}
	n := newNode(strings.Clone(join(at, name)), &st)
	return n, w.each(fd, name, n)
}

// descend reads a directory beside the others, if not too many are read already.
func (w *walk) descend(parent int, at, name string, depth int) {
	if depth > maxDepth {
		w.fail(at, errors.New("too many directories in each other"))
		return
	}
	fd, err := unix.Openat(parent, name, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC|unix.O_NOATIME, 0)
	if err != nil {
		w.fail(at, err)
		return
	}
	dir := os.NewFile(uintptr(fd), name)
	select {
	case w.slots <- struct{}{}:
		w.running.Add(1)
		go func() {
			defer func() { <-w.slots; w.running.Done() }()
			w.read(dir, at, depth)
		}()
	default:
		w.read(dir, at, depth)
	}
}
