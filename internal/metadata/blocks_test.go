package metadata

import (
	"bytes"
	"crypto/rand"
	"errors"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"
)

func TestEachBlock(t *testing.T) {
	data := make([]byte, 2*window+12345)
	_, _ = rand.Read(data)
	path := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	size := int64(len(data))
	for _, part := range [][2]int64{{0, size}, {0, 0}, {5, 100}, {window - 1, window + 1}, {4097, size - 1}, {window - 7, size}, {size - 300<<10, size}} {
		var got []byte
		err := eachBlock(f, part[0], part[1], func(block []byte) { got = append(got, block...) })
		if err != nil || !bytes.Equal(got, data[part[0]:part[1]]) {
			t.Errorf("%v: %d bytes, %v", part, len(got), err)
		}
	}
	sum := 0
	for _, to := range []int64{size + 100, size + window} {
		if err := eachBlock(f, size-100, to, func(block []byte) { sum += int(block[len(block)-1]) }); err == nil {
			t.Errorf("nothing is wrong with %d bytes of %d", to, size)
		}
	}
}

// A page that cannot be read, here since the file was cut, is an error.
func TestFileThatIsCutWhileItIsRead(t *testing.T) {
	path := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(path, bytes.Repeat([]byte{1}, 2*window), 0o600); err != nil {
		t.Fatal(err)
	}
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	sum, blocks := 0, 0
	err = eachBlock(f, 0, 2*window, func(block []byte) {
		if err := f.Truncate(window / 2); err != nil {
			t.Fatal(err)
		}
		blocks++
		for _, b := range block {
			sum += int(b)
		}
	})
	if !errors.Is(err, unix.EIO) || blocks != 1 {
		t.Errorf("%v after %d blocks with the sum %d", err, blocks, sum)
	}
	func() {
		defer func() {
			if recover() != "mine" {
				t.Error("another panic was taken for the disk's")
			}
		}()
		_ = eachBlock(f, 0, window/2, func([]byte) { panic("mine") })
	}()
}
