package criuimg

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync"

	"github.com/checkpoint-restore/go-criu/v7/crit/images/mnt"
)

// PackTmpfs puts empty tmpfs into the images of a dump that took them for external
// mounts with the given key. The images are then as if CRIU had dumped them. It is an
// error if one of the paths, each with its directory, is not in the images.
func PackTmpfs(dir, key string, empty map[string]fs.FileInfo) error {
	left, packed := len(empty), map[string][]byte{}
	var failed error
	changed, err := changeMounts(Dir(dir), func(entries []*mnt.MntEntry) bool {
		changed := false
		for _, e := range entries {
			info := empty[e.GetMountpoint()]
			if e.GetExtKey() != key || info == nil {
				continue
			}
			e.ExtKey, changed = nil, true
			left--
			data, err := emptyTar(info)
			failed = errors.Join(failed, err)
			packed[fmt.Sprintf("tmpfs-dev-%d.tar.gz.img", e.GetRootDev())] = data // tmpfs_dump in criu/filesystems.c
		}
		return changed
	})
	if err == nil && left != 0 {
		err = fmt.Errorf("CRIU's images lack %d of %d empty tmpfs", left, len(empty))
	}
	if err := errors.Join(err, failed); err != nil {
		return err
	}
	for _, images := range []map[string][]byte{packed, changed} {
		for name, data := range images {
			if err := os.WriteFile(filepath.Join(dir, name), data, 0o600); err != nil {
				return err
			}
		}
	}
	return nil
}

// gzips are writers that store, as the stand-in for tar reads it. A new one takes 800 KiB.
var gzips = sync.Pool{New: func() any {
	z, _ := gzip.NewWriterLevel(nil, gzip.NoCompression) // fails for other levels alone
	return z
}}

// emptyTar is what CRIU has tar write of a directory with nothing in it.
func emptyTar(dir fs.FileInfo) ([]byte, error) {
	var out bytes.Buffer
	z := gzips.Get().(*gzip.Writer)
	defer gzips.Put(z)
	z.Reset(&out)
	t := tar.NewWriter(z)
	h, err := tar.FileInfoHeader(dir, "")
	if err != nil {
		return nil, err
	}
	h.Name, h.Uname, h.Gname = "./", "", "" // the host's names are not the container's
	err = errors.Join(t.WriteHeader(h), t.Close(), z.Close())
	return out.Bytes(), err
}
