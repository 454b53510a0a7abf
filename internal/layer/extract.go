package layer

import (
	"archive/tar"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/checkpointctl/checkpointctl/internal/linux/sparse"
)

// Target says what a tree is made for.
type Target struct {
	Kind Kind
	// SameImage says that the overlay is above the very image of the one that was
	// written: marks that lead into it stay of use.
	SameImage bool
}

// Extract makes a tree in an empty directory, of a tar of so many bytes, and
// returns the number of its entries. Nothing is made outside of the directory, and
// no more than the tar has bytes for. The errors to expect are ErrBadTar and
// ErrOtherImage; what was made until then stays.
func Extract(ctx context.Context, from io.Reader, size int64, dir string, to Target) (entries int, err error) {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return 0, err
	}
	defer root.Close()
	e := &extractor{ctx: ctx, root: root, to: to, left: size, made: map[string]byte{}, buf: make([]byte, chunk)}
	if e.parent, err = root.Open("."); err != nil {
		return 0, err
	}
	defer func() { e.parent.Close() }()
	e.parentPath, e.made["."] = ".", tar.TypeDir
	in := tar.NewReader(from)
	for ; ; entries++ {
		if err := ctx.Err(); err != nil {
			return entries, err
		}
		h, err := in.Next()
		if errors.Is(err, io.EOF) {
			return entries, e.finish()
		}
		if err != nil {
			return entries, fmt.Errorf("%w: %w", ErrBadTar, err)
		}
		if err := e.entry(h, in); err != nil {
			return entries, fmt.Errorf("%q: %w", h.Name, err)
		}
	}
}

// extractor makes one tree.
type extractor struct {
	ctx        context.Context
	root       *os.Root
	to         Target
	left       int64 // bytes that may yet be made
	made       map[string]byte
	parent     *os.File // the directory of the newest file
	parentPath string
	dirs       []pending // to be finished when all is in them
	flagged    []pending
	buf        []byte
}

// pending is a file that is not finished.
type pending struct {
	path   string
	header *tar.Header
}

func bad(format string, args ...any) error {
	return fmt.Errorf("%w: %s", ErrBadTar, fmt.Sprintf(format, args...))
}

// clean returns a name as a path below the tree, . for its top.
func clean(name string) (string, error) {
	short := strings.TrimSuffix(strings.TrimPrefix(name, "./"), "/")
	switch {
	case name == "./" || name == ".":
		return ".", nil
	case !filepath.IsLocal(short), path.Clean(short) != short, short == ".", strings.ContainsRune(short, 0):
		return "", bad("the name leads elsewhere")
	case strings.Count(short, "/") > maxDepth:
		return "", bad("too many directories in each other")
	}
	return short, nil
}

// entry makes one file.
func (e *extractor) entry(h *tar.Header, content io.Reader) error {
	name, err := clean(h.Name)
	if err != nil {
		return err
	}
	if e.left -= h.Size; h.Size < 0 || e.left < 0 {
		return bad("its content is larger than the tar")
	}
	typ := h.Typeflag
	mark, gone := NoWhiteout, ""
	if e.to.Kind == Overlay {
		mark, gone = WhiteoutOf(h)
	}
	switch mark {
	case Opaque:
		return e.opaque(path.Dir(name))
	case Deleted:
		if name, err = clean(join(path.Dir(name), gone)); err != nil {
			return err
		}
		typ = tar.TypeChar
	}
	if name == "." {
		if typ != tar.TypeDir || len(e.dirs) > 0 && e.dirs[0].path == "." {
			return bad("the top is no directory, or is there twice")
		}
		e.dirs = append([]pending{{".", h}}, e.dirs...)
		return nil
	}
	if e.made[name] != 0 {
		return bad("the name is there twice")
	}
	if err := e.enter(path.Dir(name)); err != nil {
		return err
	}
	e.made[name] = typ
	base := path.Base(name)
	if mark == Deleted {
		err := unix.Mknodat(e.fd(), base, unix.S_IFCHR, whiteoutDev)
		if err == nil {
			err = e.times(base, h)
		}
		return err
	}
	return e.create(name, base, h, content)
}

func (e *extractor) fd() int { return int(e.parent.Fd()) }

// enter opens the directory in which the next file is to be. It is one that was
// made here: no link leads to it.
func (e *extractor) enter(dir string) error {
	if e.made[dir] != tar.TypeDir {
		return bad("its directory is not there")
	}
	if dir == e.parentPath {
		return nil
	}
	f, err := e.root.Open(dir)
	if err != nil {
		return err
	}
	e.parent.Close()
	e.parent, e.parentPath = f, dir
	return nil
}

func (e *extractor) opaque(dir string) error {
	if err := e.enter(dir); err != nil {
		return err
	}
	return unix.Lsetxattr(procPath(e.fd(), "."), opaqueXattr, []byte(opaqueYes), 0)
}

func (e *extractor) create(name, base string, h *tar.Header, content io.Reader) error {
	var err error
	switch h.Typeflag {
	case tar.TypeReg:
		if kind := h.PAXRecords[typeRecord]; kind == typeSocket {
			err = unix.Mknodat(e.fd(), base, unix.S_IFSOCK|0o600, 0)
		} else if kind != "" {
			err = bad("unknown type %q", kind)
		} else {
			err = e.file(base, h, content)
		}
	case tar.TypeDir:
		e.dirs = append(e.dirs, pending{name, h})
		return unix.Mkdirat(e.fd(), base, 0o700)
	case tar.TypeLink:
		return e.link(base, h.Linkname)
	case tar.TypeSymlink:
		err = unix.Symlinkat(h.Linkname, e.fd(), base)
	case tar.TypeFifo:
		err = unix.Mknodat(e.fd(), base, unix.S_IFIFO|0o600, 0)
	case tar.TypeChar, tar.TypeBlock:
		typ := uint32(unix.S_IFCHR)
		if h.Typeflag == tar.TypeBlock {
			typ = unix.S_IFBLK
		}
		if h.Devmajor < 0 || h.Devmajor > 1<<12 || h.Devminor < 0 || h.Devminor > 1<<20 {
			return bad("no such device: %d:%d", h.Devmajor, h.Devminor)
		}
		if typ == unix.S_IFCHR && h.Devmajor == 0 && h.Devminor == 0 {
			return bad("a mark of overlayfs")
		}
		err = unix.Mknodat(e.fd(), base, typ|0o600, int(unix.Mkdev(uint32(h.Devmajor), uint32(h.Devminor))))
	default:
		err = bad("type %q", string(h.Typeflag))
	}
	if err != nil {
		return err
	}
	return e.describe(name, base, h)
}

// link makes another name of a file that was made before.
func (e *extractor) link(base, to string) error {
	target, err := clean(to)
	if err != nil {
		return err
	}
	if typ := e.made[target]; typ == 0 || typ == tar.TypeDir {
		return bad("a link to %q, which is not there", to)
	}
	f, err := e.root.Open(path.Dir(target))
	if err != nil {
		return err
	}
	defer f.Close()
	return unix.Linkat(int(f.Fd()), path.Base(target), e.fd(), base, 0)
}

func (e *extractor) file(base string, h *tar.Header, content io.Reader) error {
	fd, err := unix.Openat(e.fd(), base, unix.O_WRONLY|unix.O_CREAT|unix.O_EXCL|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0o600)
	if err != nil {
		return err
	}
	f := os.NewFile(uintptr(fd), base)
	if h.PAXRecords[sparseRecord] != "" {
		err = e.sparse(f, content)
	} else {
		_, err = io.CopyBuffer(struct{ io.Writer }{f}, struct{ io.Reader }{content}, e.buf)
	}
	if errors.Is(err, io.ErrUnexpectedEOF) {
		err = bad("it is cut short")
	}
	return errors.Join(err, f.Close())
}

// sparse leaves holes for zeros.
func (e *extractor) sparse(f *os.File, content io.Reader) error {
	w := sparse.NewWriter(f)
	for {
		if err := e.ctx.Err(); err != nil {
			return err
		}
		n, err := io.ReadFull(content, e.buf)
		if _, err := w.Write(e.buf[:n]); err != nil {
			return err
		}
		switch {
		case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF) && n > 0 && n < len(e.buf):
			// Of a tar that is cut short the next header is missing, too.
			return w.Finish()
		case err != nil:
			return err
		}
	}
}

// describe gives a file its owner, mode, attributes and times, in this order: each
// would change what comes before it.
func (e *extractor) describe(name, base string, h *tar.Header) error {
	if err := unix.Fchownat(e.fd(), base, h.Uid, h.Gid, unix.AT_SYMLINK_NOFOLLOW); err != nil {
		return err
	}
	if h.Typeflag != tar.TypeSymlink {
		if err := unix.Fchmodat(e.fd(), base, uint32(h.Mode&0o7777), 0); err != nil {
			return err
		}
	}
	for key, value := range h.PAXRecords {
		x, ok, err := recorded(key, value)
		if err != nil {
			return err
		}
		if !ok {
			continue
		}
		set, err := e.takes(x.name)
		if err == nil && set {
			err = unix.Lsetxattr(procPath(e.fd(), base), x.name, []byte(x.value), 0)
		}
		if err != nil {
			return fmt.Errorf("extended attribute %s: %w", x.name, err)
		}
	}
	if h.PAXRecords[flagsRecord] != "" {
		e.flagged = append(e.flagged, pending{name, h})
	}
	return e.times(base, h)
}

func (e *extractor) times(base string, h *tar.Header) error {
	atime := h.AccessTime
	if atime.IsZero() {
		atime = h.ModTime
	}
	times := []unix.Timespec{{Sec: atime.Unix(), Nsec: int64(atime.Nanosecond())}, {Sec: h.ModTime.Unix(), Nsec: int64(h.ModTime.Nanosecond())}}
	return unix.UtimesNanoAt(e.fd(), base, times, unix.AT_SYMLINK_NOFOLLOW)
}

// takes says whether an extended attribute is to be set.
func (e *extractor) takes(name string) (bool, error) {
	switch {
	case strings.HasPrefix(name, ownXattrs), name == opaqueXattr:
		return false, bad("it is not a file's")
	case !strings.HasPrefix(name, overlayXattrs):
		return true, nil
	case e.to.Kind != Overlay:
		return false, bad("a mark of overlayfs")
	case e.to.SameImage:
		return true, nil
	case name == redirectXattr, name == metacopyXattr:
		return false, ErrOtherImage
	}
	return false, nil // it tells where in the image a copy came from
}

// finish describes the directories, the inner ones first, and sets what would have
// stopped all that.
func (e *extractor) finish() error {
	for i := len(e.dirs) - 1; i >= 0; i-- {
		d := e.dirs[i]
		base := path.Base(d.path)
		err := e.enter(path.Dir(d.path))
		if err == nil {
			err = e.describe(d.path, base, d.header)
		}
		if err != nil {
			return fmt.Errorf("%q: %w", d.path, err)
		}
	}
	for _, p := range e.flagged {
		if err := e.setFlags(p); err != nil {
			return fmt.Errorf("%q: %w", p.path, err)
		}
	}
	return nil
}

func (e *extractor) setFlags(p pending) error {
	if err := e.enter(path.Dir(p.path)); err != nil {
		return err
	}
	flags := 0
	for _, name := range strings.Split(p.header.PAXRecords[flagsRecord], ",") {
		known := false
		for _, f := range fileFlags {
			if f.name == name {
				known, flags = true, flags|f.flag
			}
		}
		if !known {
			return bad("unknown flag %q", name)
		}
	}
	if typ := p.header.Typeflag; typ != tar.TypeReg && typ != tar.TypeDir || p.header.PAXRecords[typeRecord] != "" {
		return bad("a flag on what can have none")
	}
	return changeFlags(e.fd(), path.Base(p.path), flags, 0)
}
