package restore

import (
	"archive/tar"
	"context"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"

	"github.com/checkpointctl/checkpointctl/internal/metadata"
)

// How far the files are is what was read of their tars.
func TestExtractCounts(t *testing.T) {
	from := source{dir: t.TempDir()}
	from.open = openPlain(from.dir)
	out, err := os.Create(filepath.Join(from.dir, "data.tar"))
	if err != nil {
		t.Fatal(err)
	}
	w := tar.NewWriter(out)
	content := make([]byte, 100_000)
	for _, h := range []*tar.Header{
		{Name: "./", Typeflag: tar.TypeDir, Mode: 0o755, Uid: os.Getuid(), Gid: os.Getgid()},
		{Name: "./file", Typeflag: tar.TypeReg, Mode: 0o644, Uid: os.Getuid(), Gid: os.Getgid(), Size: int64(len(content))},
	} {
		if err := w.WriteHeader(h); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := w.Write(content); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	size, err := out.Seek(0, 1)
	if err != nil {
		t.Fatal(err)
	}
	_ = out.Close()
	f := fill{part: metadata.Part{Name: metadata.PartVolume + "data", File: "data.tar", SizeBytes: size, Entries: 2}}
	dir := t.TempDir()
	var read atomic.Int64
	if err := extract(context.Background(), from, f, dir, &read); err != nil {
		t.Fatal(err)
	}
	if info, err := os.Stat(filepath.Join(dir, "file")); err != nil || info.Size() != int64(len(content)) {
		t.Errorf("the file: %+v, %v", info, err)
	}
	if n := read.Load(); n < int64(len(content)) || n > size {
		t.Errorf("read %d bytes of %d", n, size)
	}
}
