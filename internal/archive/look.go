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
	"strings"
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
	from   io.ReaderAt
	close  func() error
}

// Config is what Podman, CRI-O and containerd say of a container, in config.dump.
type Config struct {
	ID              string    `json:"id"`
	Name            string    `json:"name"`
	RootfsImageName string    `json:"rootfsImageName"`
	OCIRuntime      string    `json:"runtime"`
	CheckpointedAt  time.Time `json:"checkpointedTime"`
}

// section is where the data of an entry is.
type section struct {
	offset, size int64
	modified     time.Time
}

// Look opens an archive for reading. One that is compressed is unpacked to a file
// without a name, in memory below stageDir if it is encrypted, else where temporary
// files go. The errors are ErrRefused, and those of package seal.
func Look(ctx context.Context, file string, ids seal.Identities, stageDir string) (*Opened, error) {
	f, err := os.Open(file)
	if err != nil {
		return nil, err
	}
	plain, err := plainTar(ctx, f, ids, stageDir)
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	o := &Opened{files: map[string]section{}, links: map[string]string{}, from: plain, close: plain.Close}
	if plain != f {
		if err := f.Close(); err != nil {
			return nil, errors.Join(err, plain.Close())
		}
	}
	if err = o.index(plain); err == nil {
		err = o.describe()
	}
	if err != nil {
		return nil, errors.Join(err, o.close())
	}
	return o, nil
}

// Close closes the archive.
func (o *Opened) Close() error { return o.close() }

// plainTar returns the file itself if it is a tar, or one with what is in it.
func plainTar(ctx context.Context, f *os.File, ids seal.Identities, stageDir string) (*os.File, error) {
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, refused("%s is not a file", f.Name())
	}
	const magic = 257 // where a tar has "ustar"
	head := make([]byte, magic+len("ustar"))
	if _, err := f.ReadAt(head, 0); err != nil && !errors.Is(err, io.EOF) {
		return nil, err
	}
	if string(head[magic:]) == "ustar" {
		return f, nil
	}
	return unpack(ctx, f, ids, stageDir)
}

// unpack writes the tar of an archive to a file that has no name any more.
func unpack(ctx context.Context, f *os.File, ids seal.Identities, stageDir string) (*os.File, error) {
	dir := os.TempDir()
	head := make([]byte, len(seal.Intro))
	if _, err := f.ReadAt(head, 0); err == nil && string(head) == seal.Intro {
		info, err := f.Stat()
		if err != nil {
			return nil, err
		}
		stage, err := metadata.NewStage(ctx, stageDir, info.Size())
		if err != nil {
			return nil, err
		}
		defer func() { _ = stage.Remove() }()
		dir = stage.Dir
	}
	most, err := metadata.Store{Dir: dir}.FreeBytes()
	if err != nil {
		return nil, err
	}
	in, closeAll, err := opened(&stoppable{ctx, f}, ids)
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

// index notes where the entries are.
func (o *Opened) index(f *os.File) error {
	t := tar.NewReader(f)
	for n := 0; ; n++ {
		h, err := t.Next()
		if errors.Is(err, io.EOF) && n > 0 {
			return nil
		}
		if err != nil {
			return broken(err)
		}
		if n > maxFiles {
			return refused("it has more than %d entries", maxFiles)
		}
		name := path.Clean(h.Name)
		switch h.Typeflag {
		case tar.TypeReg:
			at, err := f.Seek(0, io.SeekCurrent)
			if err != nil {
				return err
			}
			if h.PAXRecords["GNU.sparse.major"] != "" {
				return refused("entry %q is a sparse file", name)
			}
			o.files[name] = section{at, h.Size, h.ModTime}
		case tar.TypeSymlink:
			o.links[name] = h.Linkname
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
	if _, err := o.from.ReadAt(data, s.offset); err != nil && !errors.Is(err, io.EOF) {
		return nil, err
	}
	return data, nil
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
		if s, found := o.files[name]; found {
			return io.NopCloser(io.NewSectionReader(o.from, s.offset, s.size)), nil
		}
	}
	return nil, fs.ErrNotExist
}

// dir is one directory of the archive, without those below it.
func (o *Opened) dir(name string) fs.FS {
	d := &directory{o: o, name: name, files: map[string]section{}}
	for file, s := range o.files {
		if rest, ok := strings.CutPrefix(file, name+"/"); ok && !strings.Contains(rest, "/") {
			d.files[rest] = s
		}
	}
	for _, beside := range [...]string{"dump.log", "stats-dump"} {
		if s, found := o.files[beside]; found && name == path.Clean(imageDir) {
			d.files[beside] = s
		}
	}
	return d
}

// directory is one of an archive.
type directory struct {
	o     *Opened
	name  string
	files map[string]section
}

func (d *directory) Open(name string) (fs.File, error) {
	s, found := d.files[name]
	if !found {
		return nil, &fs.PathError{Op: "open", Path: name, Err: fs.ErrNotExist}
	}
	return &openedFile{io.NewSectionReader(d.o.from, s.offset, s.size), fileInfo{name, s}}, nil
}

// Stat describes a file, or the link to a parent.
func (d *directory) Stat(name string) (fs.FileInfo, error) {
	if s, found := d.files[name]; found {
		return fileInfo{name, s}, nil
	}
	if _, linked := d.o.links[path.Join(d.name, name)]; linked {
		return fileInfo{name, section{}}, nil
	}
	return nil, &fs.PathError{Op: "stat", Path: name, Err: fs.ErrNotExist}
}

// ReadDir lists the files, sorted.
func (d *directory) ReadDir(name string) ([]fs.DirEntry, error) {
	if name != "." {
		return nil, &fs.PathError{Op: "open", Path: name, Err: fs.ErrNotExist}
	}
	var list []fs.DirEntry
	for file, s := range d.files {
		list = append(list, fs.FileInfoToDirEntry(fileInfo{file, s}))
	}
	slices.SortFunc(list, func(a, b fs.DirEntry) int { return strings.Compare(a.Name(), b.Name()) })
	return list, nil
}

// openedFile is an open file of an archive.
type openedFile struct {
	*io.SectionReader
	info fileInfo
}

func (e *openedFile) Stat() (fs.FileInfo, error) { return e.info, nil }
func (e *openedFile) Close() error               { return nil }

type fileInfo struct {
	name string
	section
}

func (i fileInfo) Name() string       { return i.name }
func (i fileInfo) Size() int64        { return i.size }
func (i fileInfo) Mode() fs.FileMode  { return 0o400 }
func (i fileInfo) ModTime() time.Time { return i.modified }
func (i fileInfo) IsDir() bool        { return false }
func (i fileInfo) Sys() any           { return nil }

// Encrypted says that the checkpoint in the archive is encrypted itself.
func (o *Opened) Encrypted() bool { return o.Record != nil && o.Record.Encrypted }

func (o *Opened) String() string {
	if o.Record != nil {
		return o.Record.Name + "/" + o.Record.Checkpoint
	}
	return fmt.Sprintf("%s (%.12s)", o.Config.Name, o.Config.ID)
}
