package criuimg

import (
	"io/fs"
	"os"
	"strings"

	"github.com/checkpoint-restore/go-criu/v7/crit/images/pagemap"
	"google.golang.org/protobuf/proto"
)

// LeastMemory is how much memory the tasks of a dump have at least, in bytes: that
// of the largest one, and what they share. Others may have pages in common with it,
// since a fork.
func LeastMemory(images fs.FS) (int64, error) {
	names, err := fs.Glob(images, "pagemap-*.img")
	if err != nil {
		return 0, err
	}
	var largest, shared int64
	for _, name := range names {
		pages, err := countPages(images, name, func(*pagemap.PagemapEntry) bool { return true })
		if err != nil {
			return 0, err
		}
		if strings.HasPrefix(name, "pagemap-shmem-") {
			shared += pages
		} else {
			largest = max(largest, pages)
		}
	}
	return (largest + shared) * int64(os.Getpagesize()), nil
}

// LazyBytes is how much memory a lazy restore of the images leaves for later:
// private anonymous memory, without stacks.
func LazyBytes(images fs.FS) (int64, error) {
	names, err := fs.Glob(images, "pagemap-[0-9]*.img")
	if err != nil {
		return 0, err
	}
	var pages int64
	for _, name := range names {
		n, err := countPages(images, name, func(e *pagemap.PagemapEntry) bool { return e.GetFlags()&pageLazy != 0 })
		if err != nil {
			return 0, err
		}
		pages += n
	}
	return pages * int64(os.Getpagesize()), nil
}

// PagesSize returns how many bytes of memory the images in a directory have, by the
// sizes of their files, 0 if they cannot be listed. It reads no file: CRIU may be
// writing them.
func PagesSize(dir string) (size int64) {
	d, err := os.Open(dir)
	if err != nil {
		return 0
	}
	defer d.Close()
	list, _ := d.ReadDir(-1)
	for _, e := range list {
		if strings.HasPrefix(e.Name(), "pages-") {
			if info, err := e.Info(); err == nil {
				size += info.Size()
			}
		}
	}
	return size
}

// countPages adds up the entries of a pagemap image that are wanted.
func countPages(images fs.FS, name string, wanted func(*pagemap.PagemapEntry) bool) (pages int64, err error) {
	err = Decode(images, name, func(m proto.Message) error {
		e, ok := m.(*pagemap.PagemapEntry)
		if !ok || !wanted(e) {
			return nil
		}
		n, err := nrPages(e)
		pages += int64(n)
		return err
	})
	return pages, err
}
