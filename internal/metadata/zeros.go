package metadata

import (
	"bytes"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

const (
	zeroBlock = 4 << 10  // of most filesystems, and CRIU's page
	zeroRun   = 64 << 10 // less is not worth a hole
)

var zeroBytes [zeroBlock]byte

// zeros gives the blocks of a file's zeros back to the filesystem, while the
// file is read through it. Memory that was written with zeros is in CRIU's
// images page for page. The file reads the same afterwards. Other files than images of
// memory are left alone.
type zeros struct {
	file     *os.File
	at, from int64 // from: where the zeros before at begin
}

func (z *zeros) open(root *os.Root, f *File) (err error) {
	if f.SizeBytes >= zeroRun && strings.HasPrefix(filepath.Base(f.Name), "pages-") {
		z.file, err = root.OpenFile(f.Name, os.O_WRONLY|syscall.O_NOFOLLOW, 0)
	}
	return err
}

func (z *zeros) close() {
	if z.file != nil {
		z.punch()
		_ = z.file.Close()
	}
}

func (z *zeros) Write(p []byte) (int, error) {
	if z.file == nil {
		return len(p), nil
	}
	for block := range slices.Chunk(p, zeroBlock) {
		n := int64(len(block))
		if !bytes.Equal(block, zeroBytes[:]) {
			z.punch()
			z.from = z.at + n
		}
		z.at += n
	}
	return len(p), nil
}

// punch is for what it saves: a filesystem that has no holes keeps the zeros.
func (z *zeros) punch() {
	if n := z.at - z.from; n >= zeroRun {
		_ = unix.Fallocate(int(z.file.Fd()), unix.FALLOC_FL_PUNCH_HOLE|unix.FALLOC_FL_KEEP_SIZE, z.from, n)
	}
}
