package changes

import (
	"errors"
	"path"
	"strings"

	"golang.org/x/sys/unix"
)

// lacks says whether a file of a place, by its path on the host, is known to be
// gone.
func (p Place) lacks(host string) bool {
	if !p.Layer {
		flags := unix.AT_SYMLINK_NOFOLLOW
		if host == p.Source {
			flags = 0 // Docker binds what the link leads to
		}
		var st unix.Stat_t
		return isGone(unix.Fstatat(unix.AT_FDCWD, host, &st, flags))
	}
	rest := strings.TrimPrefix(host, p.Source)
	covered := false // a directory in between hides those of the image
	for at := ""; at != rest; {
		next, _, _ := strings.Cut(rest[len(at)+1:], "/")
		at += "/" + next
		var st unix.Stat_t
		switch err := unix.Lstat(p.Source+at, &st); {
		case isGone(err):
			return covered || p.Lower != nil && !inLayers(p.Lower, rest)
		case err != nil:
			return false
		case isWhiteout(st):
			return true
		case st.Mode&unix.S_IFMT == unix.S_IFDIR:
			covered = covered || isOpaque(p.Source+at)
		}
	}
	return false
}

func isGone(err error) bool { return errors.Is(err, unix.ENOENT) || errors.Is(err, unix.ENOTDIR) }

// isWhiteout says whether it is what overlayfs puts in the place of a file of a
// lower layer that was removed.
func isWhiteout(st unix.Stat_t) bool {
	return st.Mode&unix.S_IFMT == unix.S_IFCHR && st.Rdev == 0
}

func isOpaque(dir string) bool {
	value := make([]byte, 8)
	n, err := unix.Lgetxattr(dir, "trusted.overlay.opaque", value)
	return err == nil && string(value[:n]) == "y"
}

func inLayers(layers []string, file string) bool {
	for _, dir := range layers {
		var st unix.Stat_t
		if unix.Lstat(path.Join(dir, file), &st) == nil && !isWhiteout(st) {
			return true
		}
	}
	return false
}
