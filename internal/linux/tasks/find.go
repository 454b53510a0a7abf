package tasks

import (
	"context"
	"fmt"
	"path"

	"golang.org/x/sys/unix"
)

// Find looks in the root filesystem of a process for watched files, and returns
// their paths there. It goes no further than that filesystem, and ends with the
// context. complete says whether it has looked everywhere.
func Find(ctx context.Context, pid int, wanted []Watch) (found map[Watch]string, complete bool) {
	found = map[Watch]string{}
	root, err := open(fmt.Sprintf("/proc/%d/root", pid), newBuffer())
	if err != nil {
		return found, false
	}
	defer root.close()
	left := map[Watch]bool{}
	for _, w := range wanted {
		left[w] = true
	}
	st, _ := root.stat(".", 0)
	look := func(name string, st unix.Stat_t) {
		if w := (Watch{st.Dev, st.Ino}); left[w] {
			found[w] = name
			delete(left, w)
		}
	}
	dev := st.Dev
	look("/", st)
	// Short paths come first: what is watched seldom lies deep.
	for dirs := []string{"."}; len(dirs) > 0 && len(left) > 0; dirs = dirs[1:] {
		if ctx.Err() != nil {
			return found, false
		}
		dir, err := root.inside(dirs[0])
		if err != nil {
			continue // removed meanwhile, or replaced by a link
		}
		names, _ := dir.names()
		for _, name := range names {
			st, ok := dir.stat(name, unix.AT_SYMLINK_NOFOLLOW)
			if !ok {
				continue
			}
			full := path.Join(dirs[0], name)
			look("/"+full, st)
			if st.Mode&unix.S_IFMT == unix.S_IFDIR && st.Dev == dev {
				dirs = append(dirs, full)
			}
		}
		dir.close()
	}
	return found, true
}

// inside opens a directory below, by a path without links.
func (d *directory) inside(name string) (*directory, error) {
	fd, err := unix.Openat2(d.fd, name, &unix.OpenHow{
		Flags: unix.O_RDONLY | unix.O_DIRECTORY | unix.O_CLOEXEC, Resolve: unix.RESOLVE_IN_ROOT | unix.RESOLVE_NO_SYMLINKS | unix.RESOLVE_NO_XDEV,
	})
	if err != nil {
		return nil, err
	}
	return &directory{fd: fd, buf: d.buf}, nil
}
