package criu

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/checkpoint-restore/go-criu/v7/crit/images/pagemap"
	"google.golang.org/protobuf/proto"
)

// ErrNoUserfaultfd is a kernel or a CRIU that cannot restore lazily.
var ErrNoUserfaultfd = errors.New("the kernel or CRIU lacks userfaultfd (CONFIG_USERFAULTFD)")

// Userfaultfd returns ErrNoUserfaultfd where a restore cannot be lazy.
func (d *Dumper) Userfaultfd(ctx context.Context) error {
	// It asks for userfaultfd and for word of memory that tasks unmap or move.
	if err := d.Check(ctx, "uffd-noncoop"); err != nil {
		return fmt.Errorf("%w: %w", ErrNoUserfaultfd, err)
	}
	return nil
}

// LeastMemory is how much memory the tasks of the images in dir have at least, in
// bytes: that of the largest one, and what they share. Others may have pages in
// common with it, since a fork.
func LeastMemory(dir string) (int64, error) {
	images, err := filepath.Glob(filepath.Join(dir, "pagemap-*.img"))
	if err != nil {
		return 0, err
	}
	var largest, shared int64
	for _, image := range images {
		pages, err := countPages(image, func(*pagemap.PagemapEntry) bool { return true })
		if err != nil {
			return 0, err
		}
		if strings.HasPrefix(filepath.Base(image), "pagemap-shmem-") {
			shared += pages
		} else {
			largest = max(largest, pages)
		}
	}
	return (largest + shared) * int64(os.Getpagesize()), nil
}

// LazyBytes is how much memory a lazy restore of the images in dir leaves for
// later: private anonymous memory, without stacks.
func LazyBytes(dir string) (int64, error) {
	images, err := filepath.Glob(filepath.Join(dir, "pagemap-[0-9]*.img"))
	if err != nil {
		return 0, err
	}
	var pages int64
	for _, image := range images {
		n, err := countPages(image, func(e *pagemap.PagemapEntry) bool { return e.GetFlags()&pageLazy != 0 })
		if err != nil {
			return 0, err
		}
		pages += n
	}
	return pages * int64(os.Getpagesize()), nil
}

// countPages adds up the entries of a pagemap image that are wanted.
func countPages(image string, wanted func(*pagemap.PagemapEntry) bool) (pages int64, err error) {
	err = decode(image, func(m proto.Message) error {
		e, ok := m.(*pagemap.PagemapEntry)
		if !ok || !wanted(e) {
			return nil
		}
		n, err := nrPages(e)
		pages += int64(n)
		return err
	})
	if err != nil {
		return 0, fmt.Errorf("%s: %w", filepath.Base(image), err)
	}
	return pages, nil
}
