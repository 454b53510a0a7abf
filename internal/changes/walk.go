package changes

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"sync"

	"golang.org/x/sys/unix"
)

const (
	// walkers is how many directories are read at once: a disk is quicker when it
	// is asked for much.
	walkers = 16
	// maxDepth is of directories in each other. No path that the kernel takes is
	// deeper.
	maxDepth = 4096
	// wanted is what the walk must know of a file.
	wanted = unix.STATX_TYPE | unix.STATX_MODE | unix.STATX_SIZE | unix.STATX_CTIME | unix.STATX_MTIME | unix.STATX_BTIME | unix.STATX_MNT_ID
)

// finder is one search.
type finder struct {
	Search
	mounted, above map[string]bool // mounts, and the directories they are in
	inUse, ghosts  map[string]bool
	slots          chan struct{}
	mu             sync.Mutex // of what is below
	found          Found
	seen           map[string]bool // files in use that are in found
}

// tree is the walk of one place.
type tree struct {
	*finder
	Place
	ctx     context.Context
	mountID uint64
	running sync.WaitGroup
	once    sync.Once
	err     error
}

func (f *finder) walk(ctx context.Context, p Place) error {
	t := &tree{finder: f, Place: p, ctx: ctx}
	var st unix.Statx_t
	if err := unix.Statx(unix.AT_FDCWD, p.Source, 0, wanted, &st); err != nil {
		return err
	}
	t.mountID = st.Mnt_id
	kind, changed := t.judge(p, &st)
	switch st.Mode & unix.S_IFMT {
	case unix.S_IFDIR:
		dir, err := os.OpenFile(p.Source, os.O_RDONLY|unix.O_DIRECTORY, 0)
		if err != nil {
			return err
		}
		t.read(dir, p.Path, kind, changed, 0)
		t.running.Wait()
	case unix.S_IFREG:
		if changed {
			f.report(p, Change{p.Path, kind})
		}
	}
	return t.err
}

func (t *tree) fail(err error) {
	if err != nil && !errors.Is(err, unix.ENOENT) {
		t.once.Do(func() { t.err = err })
	}
}

// read walks a directory that the container sees at a path, and closes it. The
// kind is of its own change, which is told only if nothing in it explains it.
func (t *tree) read(dir *os.File, at string, kind Kind, changed bool, depth int) {
	defer dir.Close()
	explained := false
	for {
		names, err := dir.Readdirnames(1024)
		for _, name := range names {
			explained = t.entry(dir, at, name, depth) || explained
		}
		if t.ctx.Err() != nil {
			err = t.ctx.Err()
		}
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.fail(err)
			return
		}
	}
	byDocker := t.Remounted && at == t.Path && kind == Attributes
	if changed && !explained && !t.Foreign && !t.ghosts[at] && !byDocker {
		t.report(t.Place, Change{at, kind})
	}
}

// entry looks at a file in a directory, and says whether it explains why the
// directory has changed.
func (t *tree) entry(dir *os.File, at, name string, depth int) bool {
	var st unix.Statx_t
	if err := unix.Statx(int(dir.Fd()), name, unix.AT_SYMLINK_NOFOLLOW|unix.AT_NO_AUTOMOUNT, wanted, &st); err != nil {
		t.fail(err)
		return false
	}
	kind, changed := t.judge(t.Place, &st)
	switch typ := st.Mode & unix.S_IFMT; {
	case t.above[at] && t.mounted[path.Join(at, name)], typ == unix.S_IFSOCK, typ == unix.S_IFIFO:
		// Docker makes the directories and files that it mounts on; CRIU makes
		// sockets anew. There is nothing in them, but they change where they lie.
		return kind == Added
	case typ == unix.S_IFDIR:
		if st.Mnt_id == t.mountID { // else the host has something mounted there
			t.descend(dir, path.Join(at, name), name, kind, changed, depth+1)
		}
	case changed:
		if t.Layer && kind == Added && copiedUp(dir, name) {
			kind = Changed
		}
		t.report(t.Place, Change{path.Join(at, name), kind})
	}
	return changed
}

// descend reads a directory beside the others, if not too many are read already.
func (t *tree) descend(parent *os.File, at, name string, kind Kind, changed bool, depth int) {
	if depth > maxDepth {
		t.fail(fmt.Errorf("%s: too many directories in each other", path.Base(at)))
		return
	}
	fd, err := unix.Openat(int(parent.Fd()), name, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		t.fail(err)
		return
	}
	dir := os.NewFile(uintptr(fd), name)
	select {
	case t.slots <- struct{}{}:
		t.running.Add(1)
		go func() {
			defer func() { <-t.slots; t.running.Done() }()
			t.read(dir, at, kind, changed, depth)
		}()
	default:
		t.read(dir, at, kind, changed, depth)
	}
}

// judge says whether a file was changed since the moment, and how. It is by
// ctime, which the kernel sets at every change of content, size, attributes and
// names, and which no program can set.
func (f *finder) judge(p Place, st *unix.Statx_t) (Kind, bool) {
	typ := st.Mode & unix.S_IFMT
	born := st.Mask&unix.STATX_BTIME != 0 && f.since(p, st.Btime)
	switch {
	case p.Foreign:
		return Foreign, typ != unix.S_IFDIR
	case !f.since(p, st.Ctime):
		return "", false
	case p.Layer && typ == unix.S_IFCHR && st.Rdev_major == 0 && st.Rdev_minor == 0:
		return Deleted, true // overlayfs's whiteout
	case born:
		return Added, true
	case !f.since(p, st.Mtime):
		return Attributes, true
	case typ == unix.S_IFDIR:
		return Removed, true
	default:
		return Changed, true
	}
}

// since says whether a time is not before the moment of a place. A filesystem that keeps no
// fractions of seconds says too little of a change in the same second.
func (f *finder) since(p Place, t unix.StatxTimestamp) bool {
	moment := f.Since
	if !p.Since.IsZero() {
		moment = p.Since
	}
	sec := moment.Unix()
	return t.Sec > sec || t.Sec == sec && (t.Nsec == 0 || int(t.Nsec) >= moment.Nanosecond())
}

// copiedUp says whether a file of the layer began as a copy of the image's.
func copiedUp(dir *os.File, name string) bool {
	_, err := unix.Lgetxattr(fmt.Sprintf("/proc/self/fd/%d/%s", dir.Fd(), name), "trusted.overlay.origin", nil)
	return err == nil
}
