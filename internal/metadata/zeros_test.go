package metadata

import (
	"bytes"
	"crypto/rand"
	"fmt"
	"hash/crc32"
	"os"
	"path/filepath"
	"testing"
)

func TestZerosInImagesOfMemoryTakeNoSpace(t *testing.T) {
	dir := t.TempDir()
	data := make([]byte, pieceSize+3<<20+17) // with an end that is no block
	for _, at := range []int{0, 1 << 20, 2<<20 - 100, 2<<20 + 70<<10, pieceSize - 10<<10} {
		_, _ = rand.Read(data[at : at+50<<10])
	}
	sum := fmt.Sprintf("%08x", crc32.Checksum(data, castagnoli))
	for _, name := range []string{"pages-1.img", "ghost-file-1.img"} {
		if err := os.WriteFile(filepath.Join(dir, name), data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	files, used, err := (&Draft{Dir: dir}).Sum()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		if want := (File{Name: f.Name, SizeBytes: int64(len(data)), CRC32C: sum}); f != want {
			t.Errorf("%+v, want %+v", f, want)
		}
		if now, err := os.ReadFile(filepath.Join(dir, f.Name)); err != nil || !bytes.Equal(now, data) {
			t.Errorf("%s has changed: %v", f.Name, err)
		}
	}
	// 250 KiB of data with what is too short for a hole, and the other file whole.
	if memory := used - int64(len(data)); memory < 250<<10 || memory > 450<<10 {
		t.Errorf("takes %d KiB of %d", memory>>10, len(data)>>10)
	}
}
