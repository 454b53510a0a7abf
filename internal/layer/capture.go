package layer

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"golang.org/x/sys/unix"
)

const (
	// passes are made at most while programs run, as long as one copies more than
	// enough: the last one, while they are frozen, has the less to do.
	passes = 4
	enough = 8 << 20
)

// Capture copies a tree. Its methods are for one caller at a time.
type Capture struct {
	top    string
	kind   Kind
	mapped func() []string
	stage  *stage
	pass   int
	began  unix.StatxTimestamp // of the pass
	shaky  map[key]bool        // files that change without a time
	copied atomic.Int64        // bytes, in the pass
	mu     sync.Mutex          // of what is below
	inodes map[key]*inode
	nodes  []*node // that the newest pass found, sorted when it is over
}

// New begins the copy of a tree into a new directory, which takes about as much
// room as the tree. mapped, if set, returns the files that programs have mapped
// shared and writable, as paths below the tree: stores into these need not move
// their times.
func New(top string, kind Kind, mapped func() []string, dir string) (*Capture, error) {
	s, err := newStage(dir)
	if err != nil {
		return nil, err
	}
	return &Capture{top: top, kind: kind, mapped: mapped, stage: s, inodes: map[key]*inode{}}, nil
}

// Copy copies the tree while programs change it, again and again until little is
// left to copy.
func (c *Capture) Copy(ctx context.Context) error {
	for range passes {
		if err := c.Update(ctx); err != nil || c.copied.Load() < enough {
			return err
		}
	}
	return nil
}

// Update copies once what changed since.
func (c *Capture) Update(ctx context.Context) error {
	var mapped []string
	c.began = coarse()
	if c.mapped != nil {
		mapped = c.mapped()
	}
	return c.look(ctx, mapped)
}

// Finish copies what changed since, while nobody changes anything: the copy is
// then the tree of that moment. written are the files that are mapped shared and
// writable.
func (c *Capture) Finish(ctx context.Context, written []string) error {
	c.began = coarse()
	return c.look(ctx, written)
}

// Remove removes the copy.
func (c *Capture) Remove() error { return c.stage.remove() }

// look makes a pass.
func (c *Capture) look(ctx context.Context, mapped []string) error {
	c.pass++
	c.copied.Store(0)
	c.shaky = map[key]bool{}
	for _, m := range mapped {
		var st unix.Statx_t
		err := unix.Statx(unix.AT_FDCWD, filepath.Join(c.top, m), unix.AT_SYMLINK_NOFOLLOW, wanted, &st)
		if err == nil {
			c.shaky[newNode(m, &st).key] = true
		}
	}
	w := &walk{ctx: ctx, each: c.file}
	nodes, err := w.run(c.top)
	if err != nil {
		return fmt.Errorf("copying the files of %s: %w", c.top, err)
	}
	c.nodes = nodes
	return nil
}

// sort brings the nodes into the order of the tar.
func (c *Capture) sort() {
	slices.SortFunc(c.nodes, func(a, b *node) int { return before(a.path, b.path) })
}

// file brings what is known of a file up to date.
func (c *Capture) file(dir int, name string, n *node) error {
	c.mu.Lock()
	i := c.inodes[n.key]
	if i == nil {
		i = &inode{}
		c.inodes[n.key] = i
	}
	n.inode = i
	seen := i.pass == c.pass // by another of its names
	i.pass = c.pass
	c.mu.Unlock()
	if seen || i.settled && i.ctime == n.ctime && i.size == n.size && !c.shaky[n.key] {
		return nil
	}
	i.settled = false
	var err error
	if i.xattrs, err = readXattrs(dir, name); err != nil {
		return err
	}
	switch {
	case n.is(unix.S_IFLNK):
		i.link, err = readlink(dir, name)
	case n.is(unix.S_IFREG):
		_, metacopy := i.xattr(metacopyXattr)
		if i.hollow = metacopy && c.kind == Overlay; !i.hollow {
			err = c.data(dir, name, n, i)
		}
	}
	if err != nil {
		return err
	}
	// Whoever changes it from now on gives it a ctime of this pass or later.
	i.ctime, i.size, i.settled = n.ctime, n.size, settled(n.ctime, c.began) && !c.shaky[n.key]
	return nil
}

// settled says whether a change after began has a later time than this one. A
// filesystem without fractions of seconds says nothing of changes in the same one.
func settled(ctime, began unix.StatxTimestamp) bool {
	if ctime.Nsec == 0 {
		return ctime.Sec < began.Sec
	}
	return earlier(ctime, began)
}

// coarse is the clock that the kernel stamps files with, see clock_gettime(2).
func coarse() unix.StatxTimestamp {
	var t unix.Timespec
	_ = unix.ClockGettime(unix.CLOCK_REALTIME_COARSE, &t) // fails for clocks that do not exist alone
	return unix.StatxTimestamp{Sec: t.Sec, Nsec: uint32(t.Nsec)}
}

func readlink(dir int, name string) (string, error) {
	buf := make([]byte, unix.PathMax)
	n, err := unix.Readlinkat(dir, name, buf)
	if err != nil {
		return "", err
	}
	return string(buf[:n]), nil
}

// data copies the content of a file.
func (c *Capture) data(dir int, name string, n *node, i *inode) error {
	fd, err := unix.Openat(dir, name, unix.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK|unix.O_CLOEXEC|unix.O_NOATIME, 0)
	if err != nil {
		return err
	}
	src := os.NewFile(uintptr(fd), name)
	defer src.Close()
	var st unix.Statx_t
	if err := unix.Statx(fd, "", unix.AT_EMPTY_PATH, wanted, &st); err != nil {
		return err
	}
	now := newNode(n.path, &st)
	if now.key != n.key || !now.is(unix.S_IFREG) {
		return unix.ENOENT // another file has its name now
	}
	written, err := c.stage.take(src, now, &i.copy)
	c.copied.Add(written)
	return err
}

// Below returns those of the paths that are in a directory, as paths below it.
func Below(dir string, paths []string) []string {
	var out []string
	prefix := strings.TrimSuffix(dir, "/") + "/"
	for _, p := range paths {
		if rest, ok := strings.CutPrefix(p, prefix); ok {
			out = append(out, rest)
		}
	}
	return out
}

// Size returns about how many bytes of the disk a tree takes. What cannot be read
// counts for nothing.
func Size(ctx context.Context, top string) (int64, error) {
	var mu sync.Mutex
	sum, seen := int64(0), map[key]bool{}
	w := &walk{ctx: ctx, each: func(_ int, _ string, n *node) error {
		mu.Lock()
		defer mu.Unlock()
		if n.is(unix.S_IFREG) && !seen[n.key] {
			seen[n.key] = n.nlink > 1
			sum += n.blocks * 512
		}
		sum += 1024 // of its header
		return nil
	}}
	_, err := w.run(top)
	if errors.Is(err, context.Canceled) {
		return 0, err
	}
	return sum, nil
}
