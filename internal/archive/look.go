package archive

import (
	"archive/tar"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"slices"
	"time"

	"github.com/checkpointctl/checkpointctl/internal/linux/sparse"
	"github.com/checkpointctl/checkpointctl/internal/metadata"
	"github.com/checkpointctl/checkpointctl/internal/seal"
)

// Opened is an archive that is looked into where it is, whoever made it: this program,
// Podman, CRI-O or containerd. It is to be closed.
type Opened struct {
	Record *metadata.Record // nil if it is of another program
	Config Config           // what others say of the container
	files  map[string]section
	links  map[string]string
	open   []io.Closer
	sealed bool
	count  int // of entries
	parsed int // documents
}

// Config is what Podman, CRI-O and containerd say of a container, in config.dump.
type Config struct {
	ID              string    `json:"id"`
	Name            string    `json:"name"`
	RootfsImageName string    `json:"rootfsImageName"`
	OCIRuntime      string    `json:"runtime"`
	CheckpointedAt  time.Time `json:"checkpointedTime"`
}

// Look opens an archive for reading. One that is compressed is unpacked to a file
// without a name, in memory below stageDir if it is encrypted, else where temporary
// files go. The errors are ErrRefused, and those of package seal.
func Look(ctx context.Context, file string, ids seal.Identities, stageDir string) (*Opened, error) {
	f, err := os.Open(file)
	if err != nil {
		return nil, err
	}
	plain, sealed, err := plainTar(ctx, f, ids, stageDir)
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	o := &Opened{files: map[string]section{}, links: map[string]string{}, open: []io.Closer{plain}, sealed: sealed}
	if plain != f {
		o.open = append(o.open, f)
	}
	info, err := plain.Stat()
	if err == nil {
		err = o.index(section{from: plain, size: info.Size()}, "")
	}
	if err == nil {
		err = o.layout(ctx)
	}
	if err == nil {
		err = o.describe()
	}
	if err != nil {
		return nil, errors.Join(err, o.Close())
	}
	return o, nil
}

// Close closes the archive.
func (o *Opened) Close() error {
	var err error
	for _, c := range o.open {
		err = errors.Join(err, c.Close())
	}
	return err
}

// plainTar returns the file itself if it is a tar, or one with what is in it, and
// whether it was encrypted.
func plainTar(ctx context.Context, f *os.File, ids seal.Identities, stageDir string) (*os.File, bool, error) {
	info, err := f.Stat()
	if err != nil {
		return nil, false, err
	}
	if !info.Mode().IsRegular() {
		return nil, false, refused("%s is not a file", f.Name())
	}
	head, err := section{from: f, size: info.Size()}.head()
	if err != nil {
		return nil, false, err
	}
	if isTar(head) {
		return f, false, nil
	}
	if string(head[:len(seal.Intro)]) != seal.Intro {
		plain, err := unpack(ctx, f, ids, os.TempDir())
		return plain, false, err
	}
	stage, err := metadata.NewStage(ctx, stageDir, info.Size())
	if err != nil {
		return nil, false, err
	}
	plain, err := unpack(ctx, f, ids, stage.Dir)
	return plain, true, errors.Join(err, stage.Remove())
}

// unpack writes the tar of an archive to a file in the directory that has no name any
// more.
func unpack(ctx context.Context, from io.Reader, ids seal.Identities, dir string) (*os.File, error) {
	most, err := metadata.Store{Dir: dir}.FreeBytes()
	if err != nil {
		return nil, err
	}
	in, closeAll, err := opened(Stoppable(ctx, from), ids)
	if err != nil {
		return nil, err
	}
	defer closeAll()
	out, err := os.CreateTemp(dir, "checkpointctl-*")
	if err != nil {
		return nil, err
	}
	err = os.Remove(out.Name())
	w := sparse.NewWriter(out)
	if err == nil {
		_, err = copyAll(w, io.LimitReader(in, most))
	}
	if err == nil {
		err = w.Finish()
	}
	if err == nil {
		if n, _ := io.ReadFull(in, make([]byte, 1)); n > 0 {
			err = refused("it has more than %d bytes unpacked, and %s has no room for them", most, dir)
		}
	}
	if err != nil {
		return nil, errors.Join(err, out.Close())
	}
	_, err = out.Seek(0, io.SeekStart)
	return out, err
}

// index notes where the entries of a tar are, with names below a directory.
func (o *Opened) index(s section, below string) error {
	in := s.open()
	t := tar.NewReader(in)
	for n := 0; ; n++ {
		h, err := t.Next()
		if errors.Is(err, io.EOF) && n > 0 {
			return nil
		}
		if err != nil {
			return broken(err)
		}
		if o.count++; o.count > maxFiles {
			return refused("it has more than %d entries", maxFiles)
		}
		name := path.Join(below, path.Clean("/" + h.Name)[1:])
		switch h.Typeflag {
		case tar.TypeReg:
			at, err := in.Seek(0, io.SeekCurrent)
			if err != nil {
				return err
			}
			if h.PAXRecords["GNU.sparse.major"] != "" {
				return refused("entry %q is a sparse file", name)
			}
			o.files[name] = section{s.from, s.offset + at, h.Size, h.ModTime}
		case tar.TypeSymlink:
			o.links[name] = h.Linkname
		case tar.TypeGNUSparse:
			return refused("entry %q is a sparse file", name)
		}
	}
}

// describe reads what the archive says of itself.
func (o *Opened) describe() error {
	if data, err := o.small(recordEntry, maxRecord); err == nil {
		r, err := metadata.ParseForeign(data)
		if err != nil {
			return refused("%s: %w", recordEntry, err)
		}
		o.Record = &r
	} else if !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if data, err := o.small(configEntry, maxForeign); err == nil {
		_ = json.Unmarshal(data, &o.Config) // it is only shown
	}
	if _, found := o.files[imageDir+"pstree.img"]; !found && o.Record == nil {
		return refused("it has no %spstree.img: it is not a checkpoint", imageDir)
	}
	return nil
}

func (o *Opened) small(name string, most int64) ([]byte, error) {
	s, found := o.files[name]
	if !found {
		return nil, fs.ErrNotExist
	}
	if s.size > most {
		return nil, refused("entry %q has %d bytes, at most %d are taken", name, s.size, most)
	}
	data := make([]byte, s.size)
	_, err := io.ReadFull(s.open(), data)
	return data, err
}

// Images returns the directories with images, newest first.
func (o *Opened) Images() []fs.FS {
	var list []fs.FS
	if o.Record != nil {
		for _, dir := range o.Record.ImageDirs() {
			list = append(list, o.dir(path.Join(imageDir, dir)))
		}
		return list
	}
	seen := []string{}
	for dir := path.Clean(imageDir); !slices.Contains(seen, dir) && len(seen) <= maxLinks; {
		seen = append(seen, dir)
		list = append(list, o.dir(dir))
		to, linked := o.links[path.Join(dir, "parent")]
		if !linked {
			break
		}
		dir = path.Join(dir, to)
	}
	return list
}

// maxLinks ends chains of parents.
const maxLinks = 1000

// RootFS opens the tar of the container's writable layer. The error is fs.ErrNotExist
// if the archive has none.
func (o *Opened) RootFS() (io.ReadCloser, error) {
	for _, name := range [...]string{"rootfs.tar", "rootfs-diff.tar"} {
		if s, found := o.files[name]; found && s.size > 0 {
			in, done, err := opened(s.open(), nil) // containerd compresses it
			if err != nil {
				return nil, err
			}
			return layerReader{in, done}, nil
		}
	}
	return nil, fs.ErrNotExist
}

type layerReader struct {
	io.Reader
	done func()
}

func (l layerReader) Close() error {
	l.done()
	return nil
}

// Deleted returns the paths of files of the image that the container deleted, where
// they are listed beside the layer, as by Podman.
func (o *Opened) Deleted() ([]string, error) {
	data, err := o.small("deleted.files", maxForeign)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	var list []string
	if err == nil {
		err = json.Unmarshal(data, &list)
	}
	return list, err
}

// Encrypted says that the checkpoint in the archive is encrypted itself.
func (o *Opened) Encrypted() bool { return o.Record != nil && o.Record.Encrypted }

func (o *Opened) String() string {
	if o.Record != nil {
		return o.Record.Name + "/" + o.Record.Checkpoint
	}
	return fmt.Sprintf("%s (%.12s)", o.Config.Name, o.Config.ID)
}
