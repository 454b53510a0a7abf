package sparse

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
func TestReader(t *testing.T) {
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
		s, err := NewReader(f)
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

// Whatever the pieces, the file holds what was written and takes no space for
// blocks of zeros.
func TestWriter(t *testing.T) {
	data := make([]byte, 9*block+100)
	for _, at := range []int{0, 3*block + 7, 4 * block, 9*block + 50} {
		data[at] = 1
	}
	for _, piece := range []int{block, 4 * block, len(data), 1000} {
		f, err := os.Create(filepath.Join(t.TempDir(), "f"))
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		w := NewWriter(f)
		for rest := data; len(rest) > 0; {
			n, err := w.Write(rest[:min(piece, len(rest))])
			if err != nil {
				t.Fatal(err)
			}
			rest = rest[n:]
		}
		if err := w.Finish(); err != nil {
			t.Fatal(err)
		}
		got, err := os.ReadFile(f.Name())
		if err != nil || !bytes.Equal(got, data) {
			t.Errorf("pieces of %d: %v, %d bytes that differ", piece, err, len(got))
		}
		if _, hole := Extent(f, 0, int64(len(data))); hole != block && piece%block == 0 {
			t.Errorf("pieces of %d: the first hole begins at %d", piece, hole)
		}
	}
}

// Zeros at the end are part of the file.
func TestWriterEndsInZeros(t *testing.T) {
	f, err := os.Create(filepath.Join(t.TempDir(), "f"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	w := NewWriter(f)
	if _, err := w.Write(make([]byte, 3*block)); err != nil {
		t.Fatal(err)
	}
	if err := w.Finish(); err != nil {
		t.Fatal(err)
	}
	if info, err := f.Stat(); err != nil || info.Size() != 3*block {
		t.Errorf("%v, %v", info, err)
	}
}
