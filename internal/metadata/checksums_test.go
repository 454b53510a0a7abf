package metadata

import (
	"bytes"
	"cmp"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"testing"
)

// The sums of pieces and holes put together are those of the whole files.
func TestChecksumsAreThoseOfHash(t *testing.T) {
	dir := t.TempDir()
	noise := make([]byte, 3<<20)
	rng := rand.NewChaCha8([32]byte{})
	_, _ = rng.Read(noise)
	for name, f := range map[string]struct {
		size int64
		data []int64 // where the noise is
	}{
		"empty":        {0, nil},
		"small":        {100, []int64{0}},
		"one piece":    {pieceSize, []int64{0, pieceSize - 3<<20}},
		"a byte more":  {pieceSize + 1, []int64{1 << 20, pieceSize - 1<<20}},
		"a hole":       {2*pieceSize + 4711, nil},
		"holes inside": {3*pieceSize + 1<<20 + 7, []int64{8 << 20, pieceSize - 1<<20, 2*pieceSize + 1<<20}},
		"ends in data": {2*pieceSize + 3<<20, []int64{2 * pieceSize}},
	} {
		file, err := os.Create(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		for _, at := range f.data {
			if _, err := file.WriteAt(noise[:min(int64(len(noise)), f.size-at)], at); err != nil {
				t.Fatal(err)
			}
		}
		if err := cmp.Or(file.Truncate(f.size), file.Close()); err != nil {
			t.Fatal(err)
		}
	}
	want, err := readHashes(dir, nil)
	if err != nil {
		t.Fatal(err)
	}
	for i := range want {
		want[i].SHA256 = ""
	}
	got, err := readChecksums(dir, false, nil)
	if err != nil || !slices.Equal(got, want) {
		t.Errorf("%v, got %v, want %v", err, got, want)
	}
}

func BenchmarkChecksums(b *testing.B) {
	dir := b.TempDir()
	size := 512 << 20
	if err := os.WriteFile(filepath.Join(dir, "pages-1.img"), bytes.Repeat([]byte("a page of memory"), size/16), 0o600); err != nil {
		b.Fatal(err)
	}
	b.SetBytes(int64(size))
	for b.Loop() {
		if _, err := readChecksums(dir, false, nil); err != nil {
			b.Fatal(err)
		}
	}
}
