package criuimg

import (
	"errors"
	"io/fs"
	"path"

	"github.com/checkpoint-restore/go-criu/v7/crit/images/fdinfo"
	remap_file_path "github.com/checkpoint-restore/go-criu/v7/crit/images/remap-file-path"
	"google.golang.org/protobuf/proto"
)

// Link is a file whose name was removed and that CRIU gave another name
// (--link-remap). A dump after which the container runs on takes that away again,
// and so does a restore. Paths are in the container.
type Link struct {
	Path string // that it had
	Name string // by which a restore finds it
}

// ReadLinks reads the links in the images of a dump. An error names the image that
// does not decode.
func ReadLinks(images fs.FS) ([]Link, error) {
	var (
		linked [][2]uint32 // the ID of a file, and of the one that stands for it
		names  = map[uint32]string{}
	)
	const remaps, files = "remap-fpath.img", "files.img"
	err := Decode(images, remaps, func(m proto.Message) error {
		e, ok := m.(*remap_file_path.RemapFilePathEntry)
		if ok && e.RemapType != nil && e.GetRemapType() == remap_file_path.RemapType_LINKED {
			linked = append(linked, [2]uint32{e.GetOrigId(), e.GetRemapId()})
		}
		return nil
	})
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, nil
	case err != nil:
		return nil, err
	case linked == nil:
		return nil, nil
	}
	err = Decode(images, files, func(m proto.Message) error {
		if e, ok := m.(*fdinfo.FileEntry); ok && e.GetReg() != nil {
			names[e.GetId()] = path.Join("/", e.GetReg().GetName())
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	var list []Link
	for _, ids := range linked {
		list = append(list, Link{Path: names[ids[0]], Name: names[ids[1]]})
	}
	return list, nil
}
