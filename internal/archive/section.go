package archive

import (
	"errors"
	"io"
	"io/fs"
	"path"
	"slices"
	"strings"
	"time"
)

// section is where the data of an entry is.
type section struct {
	from         io.ReaderAt
	offset, size int64
	modified     time.Time
}

func (s section) open() *io.SectionReader { return io.NewSectionReader(s.from, s.offset, s.size) }

// Where a tar has which text.
const (
	tarMagicAt = 257
	tarMagic   = "ustar"
)

// head is what tells a tar from other files. What a short one lacks is zeros.
func (s section) head() ([]byte, error) {
	head := make([]byte, tarMagicAt+len(tarMagic))
	if _, err := io.ReadFull(s.open(), head); err != nil && !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) {
		return nil, err
	}
	return head, nil
}

func isTar(head []byte) bool { return string(head[tarMagicAt:]) == tarMagic }

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
	return &openedFile{s.open(), fileInfo{name, s}}, nil
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
