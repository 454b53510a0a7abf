package changes

import (
	"context"
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"
)

// Place is a directory or file of the host that a container sees at a path.
type Place struct {
	Path   string // in the container
	Source string // on the host
	// Layer is a container's writable layer, with overlayfs's marks in it. Lower are
	// the image's layers below it, if they are known.
	Layer bool
	Lower []string
	// Shared is for what others may change, too.
	Shared bool
	// Foreign is for what is there in the place of what was: all that is in it
	// counts as changed.
	Foreign bool
	// Filled is for what will be as it was: nothing is missing in it.
	Filled bool
	// Remounted is for volumes: Docker sets owner and mode of an empty one when it makes
	// a container that mounts it.
	Remounted bool
	// Since, if set, goes before the search's: the place was put back then to what
	// it was, and nothing ran in between.
	Since time.Time
}

// Search says what to look for, and where.
type Search struct {
	// Since is the moment: what was changed at it or later is found.
	Since  time.Time
	Places []Place
	// Mounts are all paths at which the container has something mounted. What is
	// below such a path in another place is hidden from the container.
	Mounts []string
	// InUse are files that the container had open or mapped, Written those that
	// were mapped shared and writable.
	InUse, Written []string
	// Needed are files that must be there, besides those in use.
	Needed []string
	// Sizes are those that files in use must have, in bytes.
	Sizes map[string]int64
	// Ghosts are directories in which a restore itself makes files and removes
	// them again.
	Ghosts []string
	// RanOn says that the container ran after the moment.
	RanOn bool
}

// Run searches all places. A file that goes away meanwhile is no error.
func (s Search) Run(ctx context.Context) (Found, error) {
	f := &finder{
		Search: s, mounted: set(s.Mounts), above: map[string]bool{}, inUse: set(s.InUse), ghosts: set(s.Ghosts),
		seen: map[string]bool{}, slots: make(chan struct{}, walkers),
	}
	for _, m := range s.Mounts {
		f.above[path.Dir(m)] = true
	}
	var all errgroup.Group
	for _, p := range s.Places {
		all.Go(func() error {
			if err := f.walk(ctx, p); err != nil && !errors.Is(err, unix.ENOENT) {
				return fmt.Errorf("looking for changed files in %s: %w", p.Source, err)
			}
			return nil
		})
	}
	if err := all.Wait(); err != nil {
		return Found{}, err
	}
	err := f.lookUp()
	for _, file := range slices.Concat(s.InUse, s.Needed) {
		if p, host, ok := f.place(file); ok && !p.Filled && p.lacks(host) {
			f.found.Missing = append(f.found.Missing, file)
		}
	}
	return f.found, err
}

func set(list []string) map[string]bool {
	out := map[string]bool{}
	for _, s := range list {
		out[s] = true
	}
	return out
}

// report files a change that the walk met. Files in use in shared places are
// left to lookUp, which sees also those that are gone.
func (f *finder) report(p Place, c Change) {
	f.mu.Lock()
	defer f.mu.Unlock()
	used := f.inUse[c.Path]
	switch {
	case p.Foreign:
		c.Kind = Foreign
	case used && c.Kind == Added:
		c.Kind = Replaced
	}
	switch {
	case p.Shared && used:
	case p.Shared:
		f.found.Shared.Add(c)
	default:
		if used {
			f.seen[c.Path] = true
		}
		f.found.Own.Add(c)
	}
}

// lookUp looks at each file in use that others may change, and at those whose
// changes leave no time.
func (f *finder) lookUp() error {
	written := set(f.Written)
	for _, file := range f.InUse {
		p, host, ok := f.place(file)
		if !ok {
			continue
		}
		flags := unix.AT_SYMLINK_NOFOLLOW
		if host == p.Source {
			flags = 0 // Docker binds what the link leads to
		}
		var st unix.Statx_t
		err := unix.Statx(unix.AT_FDCWD, host, flags, wanted, &st)
		if size, known := f.Sizes[file]; known && err == nil && size != int64(st.Size) {
			f.found.Resized = append(f.found.Resized, file)
		}
		if f.seen[file] {
			continue
		}
		gone := errors.Is(err, unix.ENOENT) || errors.Is(err, unix.ENOTDIR)
		kind, is := Kind(""), false
		switch {
		case gone && p.Layer: // it is the image's, or its directory has changed
		case gone:
			kind, is = Deleted, true
		case err != nil:
			return fmt.Errorf("looking at %s: %w", host, err)
		case p.Shared:
			if kind, is = f.judge(p, &st); is && kind == Added {
				kind = Replaced
			}
		}
		// A page that was written before the freeze and is not on the disk yet takes
		// more without a fault, and the kernel learns of no change of the file.
		if !gone && !is && f.RanOn && p.Since.IsZero() && written[file] {
			kind, is = Mapped, true
		}
		if is {
			f.found.Own.Add(Change{file, kind})
		}
	}
	return nil
}

// place returns where a file of the container lies on the host: in the place of
// the innermost mount, if that is one.
func (f *finder) place(file string) (Place, string, bool) {
	at := file
	for !f.mounted[at] && at != "/" {
		at = path.Dir(at)
	}
	i := slices.IndexFunc(f.Places, func(p Place) bool { return p.Path == at })
	if i < 0 {
		return Place{}, "", false
	}
	return f.Places[i], path.Join(f.Places[i].Source, strings.TrimPrefix(file, at)), true
}
