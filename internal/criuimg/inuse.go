package criuimg

import (
	"errors"
	"io/fs"
	"path"
	"slices"
	"strings"

	"github.com/checkpoint-restore/go-criu/v7/crit/images/fdinfo"
	"github.com/checkpoint-restore/go-criu/v7/crit/images/mm"
	remap_file_path "github.com/checkpoint-restore/go-criu/v7/crit/images/remap-file-path"
	"golang.org/x/sys/unix"
	"google.golang.org/protobuf/proto"
)

// InUse are the regular files that the tasks of a dump had open or mapped, those
// of programs and libraries among them.
type InUse struct {
	// Files are paths in the container, sorted, each once.
	Files []string
	// Sizes are those that CRIU wants again of files, in bytes. It does without for
	// a file that was open for appending only.
	Sizes map[string]int64
	// Written are those of them that were mapped shared and writable.
	Written []string
	// Ghosts are the directories of files that had no name any more. CRIU makes
	// such a file again in a restore, and takes its name away.
	Ghosts []string
}

// vmaFileShared is a mapping of a file with MAP_SHARED, in the status of a VMA
// (criu/include/image.h, VMA_FILE_SHARED).
const vmaFileShared = 1 << 7

// ReadInUse reads the images of a dump. An error names the image that does not
// decode.
func ReadInUse(images fs.FS) (InUse, error) {
	var (
		paths    = map[uint32]string{} // by file ID
		sizes    = map[uint32]int64{}
		written  = map[uint32]bool{}
		remapped = map[uint32]bool{}
	)
	read := func(name string, each func(proto.Message)) error {
		return Decode(images, name, func(m proto.Message) error { each(m); return nil })
	}
	err := read("files.img", func(m proto.Message) {
		e, ok := m.(*fdinfo.FileEntry)
		if ok && e.GetReg() != nil && (e.GetReg().Mode == nil || e.GetReg().GetMode()&unix.S_IFMT == unix.S_IFREG) {
			paths[e.GetId()] = path.Join("/", e.GetReg().GetName())
			if e.GetReg().Size != nil {
				sizes[e.GetId()] = int64(e.GetReg().GetSize())
			}
		}
	})
	if err != nil {
		return InUse{}, err
	}
	err = read("remap-fpath.img", func(m proto.Message) {
		if e, ok := m.(*remap_file_path.RemapFilePathEntry); ok {
			remapped[e.GetOrigId()] = true
		}
	})
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return InUse{}, err
	}
	tasks, err := fs.Glob(images, "mm-*.img")
	for _, image := range tasks {
		err = errors.Join(err, read(image, func(m proto.Message) {
			e, _ := m.(*mm.MmEntry)
			for _, v := range e.GetVmas() {
				if v.GetStatus()&vmaFileShared != 0 && v.GetProt()&unix.PROT_WRITE != 0 {
					written[uint32(v.GetShmid())] = true
				}
			}
		}))
	}
	return gather(paths, sizes, written, remapped), err
}

func gather(paths map[uint32]string, sizes map[uint32]int64, written, remapped map[uint32]bool) InUse {
	u := InUse{Sizes: map[string]int64{}}
	for id, p := range paths {
		switch {
		case remapped[id]:
			u.Ghosts = append(u.Ghosts, path.Dir(strings.TrimSuffix(p, " (deleted)")))
			continue
		case written[id]:
			u.Written = append(u.Written, p)
		}
		u.Files = append(u.Files, p)
		if size, ok := sizes[id]; ok {
			u.Sizes[p] = size
		}
	}
	for _, list := range []*[]string{&u.Files, &u.Written, &u.Ghosts} {
		slices.Sort(*list)
		*list = slices.Compact(*list)
	}
	return u
}
