// Package layer copies a tree of files while programs change it: a container's
// writable layer, a volume, /dev/shm. Most is copied while they run, and what
// changed since while they are frozen. It writes the copy as a tar, makes a tree of
// a tar, and puts such a tree in the place of another.
package layer

import (
	"errors"

	"golang.org/x/sys/unix"
)

// Errors that callers tell apart. They are wrapped with the names they are about.
var (
	// ErrBadTar is a tar that is not taken: damaged, or made to do harm.
	ErrBadTar = errors.New("not a tar of a tree of files")
	// ErrOtherImage is a tree that is of use only above the image that it was
	// written above.
	ErrOtherImage = errors.New("the files depend on the image below them")
)

// Kind says what a tree is.
type Kind int

const (
	// Plain is a tree of its own.
	Plain Kind = iota
	// Overlay is the upper directory of an overlayfs, with its marks.
	Overlay
)

const (
	opaqueXattr   = "trusted.overlay.opaque"
	overlayXattrs = "trusted.overlay."
	ownXattrs     = "trusted.checkpointctl."
	originXattr   = "trusted.overlay.origin"
	redirectXattr = "trusted.overlay.redirect"
	metacopyXattr = "trusted.overlay.metacopy"
	opaqueYes     = "y"
	whiteoutDev   = 0
)

// key is an inode.
type key struct{ dev, ino uint64 }

// xattr is an extended attribute.
type xattr struct{ name, value string }

// node is a file of any type, by one of its names.
type node struct {
	path   string // below the tree, . for its top
	key    key
	mode   uint32 // with the type
	uid    uint32
	gid    uint32
	nlink  uint32
	size   int64
	blocks int64 // of 512 bytes
	rdev   uint64
	atime  unix.StatxTimestamp
	mtime  unix.StatxTimestamp
	ctime  unix.StatxTimestamp
	flags  uint64 // STATX_ATTR_*
	inode  *inode
}

func (n *node) is(typ uint32) bool { return n.mode&unix.S_IFMT == typ }

// whiteout says whether the node says, in an overlay, that the name below it is
// deleted.
func (n *node) whiteout(kind Kind) bool {
	return kind == Overlay && n.is(unix.S_IFCHR) && n.rdev == whiteoutDev
}

// inode is what is known of a file beside its stat, and where its content is.
type inode struct {
	ctime   unix.StatxTimestamp
	size    int64
	settled bool // a later change shows by its ctime
	pass    int  // that looked at it last
	link    string
	xattrs  []xattr
	hollow  bool // its content is in the image, see metacopyXattr
	copy    content
}

func (i *inode) xattr(name string) (string, bool) {
	for _, x := range i.xattrs {
		if x.name == name {
			return x.value, true
		}
	}
	return "", false
}

const wanted = unix.STATX_BASIC_STATS | unix.STATX_MNT_ID

func newNode(at string, st *unix.Statx_t) *node {
	return &node{
		path: at, key: key{unix.Mkdev(st.Dev_major, st.Dev_minor), st.Ino}, mode: uint32(st.Mode), uid: st.Uid, gid: st.Gid, nlink: st.Nlink,
		size: int64(st.Size), blocks: int64(st.Blocks), rdev: unix.Mkdev(st.Rdev_major, st.Rdev_minor),
		atime: st.Atime, mtime: st.Mtime, ctime: st.Ctime, flags: st.Attributes,
	}
}

// before orders paths so that a directory comes before what is in it, and what is
// in it before what comes after it.
func before(a, b string) int {
	switch {
	case a == b:
		return 0
	case a == ".":
		return -1
	case b == ".":
		return 1
	}
	for i := 0; i < len(a) && i < len(b); i++ {
		if a[i] != b[i] {
			if a[i] == '/' {
				return -1
			}
			if b[i] == '/' {
				return 1
			}
			return int(a[i]) - int(b[i])
		}
	}
	return len(a) - len(b)
}

func join(dir, name string) string {
	if dir == "." {
		return name
	}
	return dir + "/" + name
}

func earlier(a, b unix.StatxTimestamp) bool {
	return a.Sec < b.Sec || a.Sec == b.Sec && a.Nsec < b.Nsec
}
