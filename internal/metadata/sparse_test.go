package metadata

import (
	"bytes"
	"crypto/rand"
	"errors"
	"io"
	"os"
	"path/filepath"
	"testing"
)

// Whatever the order of holes and data, what is read is what the kernel reads.
func TestSparse(t *testing.T) {
	const unit = 128 << 10
	for layout, wantHoles := range map[string]bool{
		"": false, "d": false, "h": true, "dh": true, "hd": true, "hdhhdd": true, "dddhd": true,
	} {
		f, err := os.Create(filepath.Join(t.TempDir(), "f"))
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		for i, kind := range layout {
			if kind == 'd' {
				data := make([]byte, unit)
				_, _ = rand.Read(data)
				if _, err := f.WriteAt(data, int64(i)*unit); err != nil {
					t.Fatal(err)
				}
			}
		}
		size := int64(len(layout)) * unit
		if size > 0 {
			size -= 100 // a last block that is not whole
		}
		if err := f.Truncate(size); err != nil {
			t.Fatal(err)
		}
		want, err := os.ReadFile(f.Name())
		if err != nil {
			t.Fatal(err)
		}
		s, err := newSparse(f)
		if err != nil {
			t.Fatal(err)
		}
		holes, buf, got := false, make([]byte, 10_000), []byte{}
		for err == nil {
			var n int
			n, err = s.Read(buf)
			holes = holes || n > 0 && s.at <= s.data
			got = append(got, buf[:n]...)
		}
		if !errors.Is(err, io.EOF) || !bytes.Equal(got, want) || holes != wantHoles {
			t.Errorf("%q: %v, %d bytes, want %d; holes seen %v", layout, err, len(got), len(want), holes)
		}
	}
}
