package layer

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/checkpointctl/checkpointctl/internal/linux/sparse"
)

const (
	// whiteoutPrefix begins the name of an entry that says that a file of the image
	// is deleted, and opaqueName is that of one in a directory of which the image's
	// content is (OCI image specification, layers).
	whiteoutPrefix = ".wh."
	opaqueName     = ".wh..wh..opq"

	xattrRecord = "SCHILY.xattr."
	// escapedRecord is libarchive's way to write an attribute, and the only one for a
	// name with a =, which ends a key: the name is escaped as in a URL, the value is
	// base64.
	escapedRecord = "LIBARCHIVE.xattr."
	flagsRecord   = "SCHILY.fflags"
	// literalRecord is on a file that is called like a mark and is none.
	literalRecord = "CHECKPOINTCTL.literal"
	// sparseRecord is on a file with holes: its zeros are not all to be written.
	sparseRecord = "CHECKPOINTCTL.sparse"
	// typeRecord is on an empty file for what tar has no type for: a unix socket.
	typeRecord = "CHECKPOINTCTL.type"
	typeSocket = "socket"

	blockSize = 512
)

// Summary is what a tar holds.
type Summary struct {
	Entries   int
	SizeBytes int64
	UID, GID  uint32 // of the topmost directory
	Mode      uint32 // without the type
}

// WriteTo writes the tree of the last pass as a tar, in an order and with headers
// that depend on the tree alone. The copies go away as they are written.
func (c *Capture) WriteTo(ctx context.Context, to io.Writer) (Summary, error) {
	c.sort()
	w := &writer{to: newOutput(to), kind: c.kind, stage: c.stage, first: map[*inode]string{}}
	for _, n := range c.nodes {
		err := ctx.Err()
		if err == nil {
			err = w.node(n)
		}
		if err != nil {
			return Summary{}, fmt.Errorf("%s/%s: %w", c.top, n.path, err)
		}
	}
	top := c.nodes[0]
	err := w.to.hole(2 * blockSize)
	if err == nil {
		err = w.to.end()
	}
	return Summary{w.entries, w.to.at, top.uid, top.gid, top.mode &^ unix.S_IFMT}, err
}

// writer writes one tar. Go's own cannot leave holes, so it makes the headers
// alone.
type writer struct {
	to      *output
	kind    Kind
	stage   *stage
	first   map[*inode]string // path of the entry that has the content
	entries int
}

func (w *writer) node(n *node) error {
	if n.whiteout(w.kind) {
		dir, name := path.Split(n.path)
		return w.header(&tar.Header{Typeflag: tar.TypeReg, Name: dir + whiteoutPrefix + name, ModTime: at(n.mtime), AccessTime: at(n.atime)})
	}
	h, err := w.describe(n)
	if err != nil {
		return err
	}
	if n.nlink > 1 && !n.is(unix.S_IFDIR) {
		if first, ok := w.first[n.inode]; ok {
			h.Typeflag, h.Linkname, h.Size, h.PAXRecords = tar.TypeLink, first, 0, literal(n.path)
			return w.header(h)
		}
		w.first[n.inode] = h.Name
	}
	if err := w.header(h); err != nil {
		return err
	}
	if h.Typeflag == tar.TypeReg && h.Size > 0 {
		return w.data(n, h.Size)
	}
	if value, _ := n.inode.xattr(opaqueXattr); w.kind == Overlay && value == opaqueYes {
		return w.header(&tar.Header{Typeflag: tar.TypeReg, Name: join(n.path, opaqueName)})
	}
	return nil
}

// describe makes a header of a node.
func (w *writer) describe(n *node) (*tar.Header, error) {
	h := &tar.Header{
		Name: n.path, Mode: int64(n.mode &^ unix.S_IFMT), Uid: int(n.uid), Gid: int(n.gid),
		ModTime: at(n.mtime), AccessTime: at(n.atime), PAXRecords: literal(n.path),
	}
	switch n.mode & unix.S_IFMT {
	case unix.S_IFREG:
		h.Typeflag, h.Size = tar.TypeReg, n.inode.copy.size
		if n.inode.hollow {
			h.Size = n.size
		}
		if n.inode.hollow || n.inode.copy.sparse {
			h.PAXRecords[sparseRecord] = "1"
		}
	case unix.S_IFDIR:
		h.Typeflag, h.Name = tar.TypeDir, n.path+"/"
	case unix.S_IFLNK:
		// Reading where it leads to has changed when it was read last.
		h.Typeflag, h.Linkname, h.AccessTime = tar.TypeSymlink, n.inode.link, time.Time{}
	case unix.S_IFIFO:
		h.Typeflag = tar.TypeFifo
	case unix.S_IFSOCK:
		h.Typeflag, h.PAXRecords[typeRecord] = tar.TypeReg, typeSocket
	case unix.S_IFCHR, unix.S_IFBLK:
		if h.Typeflag = tar.TypeChar; n.is(unix.S_IFBLK) {
			h.Typeflag = tar.TypeBlock
		}
		h.Devmajor, h.Devminor = int64(unix.Major(n.rdev)), int64(unix.Minor(n.rdev))
	default:
		return nil, fmt.Errorf("a file of type %o", n.mode&unix.S_IFMT)
	}
	for _, x := range n.inode.xattrs {
		if w.kind != Overlay || x.name != opaqueXattr {
			key, value := x.record()
			h.PAXRecords[key] = value
		}
	}
	var flags []string
	for _, f := range fileFlags {
		if n.flags&f.attribute != 0 {
			flags = append(flags, f.name)
		}
	}
	if flags != nil {
		h.PAXRecords[flagsRecord] = strings.Join(flags, ",")
	}
	return h, nil
}

// fileFlags are those that stop a change of a file, by their names in BSD and in
// libarchive.
var fileFlags = [...]struct {
	name      string
	attribute uint64 // of statx(2)
	flag      int    // FS_APPEND_FL, FS_IMMUTABLE_FL of ioctl_iflags(2)
}{
	{"sappnd", unix.STATX_ATTR_APPEND, 0x20},
	{"schg", unix.STATX_ATTR_IMMUTABLE, 0x10},
}

func literal(name string) map[string]string {
	records := map[string]string{}
	if strings.HasPrefix(path.Base(name), whiteoutPrefix) {
		records[literalRecord] = "1"
	}
	return records
}

func at(t unix.StatxTimestamp) time.Time { return time.Unix(t.Sec, int64(t.Nsec)) }

// header writes a header, with the blocks before it that hold what has no place
// in one.
func (w *writer) header(h *tar.Header) error {
	w.entries++
	h.Format = tar.FormatPAX
	var b bytes.Buffer
	if err := tar.NewWriter(&b).WriteHeader(h); err != nil {
		return err
	}
	return w.to.write(b.Bytes())
}

// data writes the content of a file and fills its last block.
func (w *writer) data(n *node, size int64) error {
	end := w.to.at + (size+blockSize-1)/blockSize*blockSize
	if !n.inode.hollow {
		f, from, err := w.stage.open(n.inode.copy)
		if err != nil {
			return err
		}
		if err := errors.Join(w.to.copy(f, from, size), w.stage.done(n.inode.copy, f)); err != nil {
			return err
		}
	}
	return w.to.hole(end - w.to.at)
}

// output is where a tar goes: a file gets holes, anything else zeros.
type output struct {
	to   io.Writer
	file *os.File // nil if it is none
	at   int64
	buf  []byte
}

func newOutput(to io.Writer) *output {
	o := &output{to: to}
	if f, ok := to.(*os.File); ok {
		if info, err := f.Stat(); err == nil && info.Mode().IsRegular() {
			o.file = f
		}
	}
	return o
}

// buffer is for what has files, which most layers of a container do not.
func (o *output) buffer() []byte {
	if o.buf == nil {
		o.buf = make([]byte, chunk)
	}
	return o.buf
}

func (o *output) write(p []byte) error {
	n, err := o.to.Write(p)
	o.at += int64(n)
	return err
}

func (o *output) hole(n int64) error {
	if o.file != nil {
		o.at += n
		_, err := o.file.Seek(n, io.SeekCurrent)
		return err
	}
	buf := o.buffer()
	for clear(buf); n > 0; {
		part := min(n, int64(len(buf)))
		if err := o.write(buf[:part]); err != nil {
			return err
		}
		n -= part
	}
	return nil
}

// copy writes size bytes of a file, from an offset on, with its holes.
func (o *output) copy(f *os.File, from, size int64) error {
	for done := int64(0); done < size; {
		data, hole := sparse.Extent(f, from+done, from+size)
		if gap := data - from - done; gap > 0 {
			if err := o.hole(gap); err != nil {
				return err
			}
		}
		// What else a file could do itself takes smaller steps.
		n, err := io.CopyBuffer(struct{ io.Writer }{o.to}, io.NewSectionReader(f, data, hole-data), o.buffer())
		o.at += n
		if err == nil && n < hole-data {
			err = io.ErrUnexpectedEOF
		}
		if err != nil {
			return err
		}
		done = hole - from
	}
	return nil
}

// end gives a file its size.
func (o *output) end() error {
	if o.file == nil {
		return nil
	}
	return o.file.Truncate(o.at)
}
