package archive

import (
	"archive/tar"
	"bytes"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"testing"
)

// ofPodman is a tar as Podman writes it, whose links to parents go in a circle.
func ofPodman(t testing.TB) []byte {
	t.Helper()
	var out bytes.Buffer
	w := tar.NewWriter(&out)
	for _, e := range []struct{ name, data, link string }{
		{"./config.dump", `{"name":"web"}`, ""}, {"checkpoint/pstree.img", "pstree", ""}, {"checkpoint/parent", "", "../pre-checkpoint"},
		{"pre-checkpoint/pages-1.img", "pages", ""}, {"pre-checkpoint/parent", "", "../checkpoint"}, {"rootfs-diff.tar", "layer", ""}, {"stats-dump", "stats", ""},
	} {
		h := &tar.Header{Name: e.name, Typeflag: tar.TypeReg, Size: int64(len(e.data)), Linkname: e.link, Mode: 0o600}
		if e.link != "" {
			h.Typeflag = tar.TypeSymlink
		}
		err := w.WriteHeader(h)
		if err == nil {
			_, err = io.WriteString(w, e.data)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

func look(t testing.TB, data []byte) (*Opened, error) {
	t.Helper()
	file := filepath.Join(t.TempDir(), "archive")
	if err := os.WriteFile(file, data, 0o600); err != nil {
		t.Fatal(err)
	}
	return Look(t.Context(), file, nil, "")
}

func TestLook(t *testing.T) {
	o, err := look(t, ofPodman(t))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = o.Close() }()
	images := o.Images()
	if len(images) != 2 || o.Config.Name != "web" || o.Record != nil || o.Encrypted() {
		t.Fatalf("%d directories, %+v", len(images), o)
	}
	for i, want := range []map[string]string{{"pstree.img": "pstree", "stats-dump": "stats"}, {"pages-1.img": "pages"}} {
		names, err := fs.Glob(images[i], "*")
		if err != nil || len(names) != len(want) {
			t.Errorf("directory %d has %q, %v", i, names, err)
		}
		for name, data := range want {
			if got, err := fs.ReadFile(images[i], name); err != nil || string(got) != data {
				t.Errorf("%s: %q, %v", name, got, err)
			}
		}
	}
	if _, err := fs.Stat(images[0], "parent"); err != nil {
		t.Error(err)
	}
	if _, err := images[0].Open("../config.dump"); !errors.Is(err, fs.ErrNotExist) {
		t.Error(err)
	}
	layer, err := o.RootFS()
	if err != nil {
		t.Fatal(err)
	}
	if data, err := io.ReadAll(layer); err != nil || string(data) != "layer" {
		t.Errorf("%q, %v", data, err)
	}
}

// Whatever a file holds, it is refused, or what it names can be read or not.
func FuzzLook(f *testing.F) {
	f.Add(ofPodman(f))
	f.Fuzz(func(t *testing.T, data []byte) {
		if len(data) > 1<<20 {
			return
		}
		o, err := look(t, data)
		if err != nil {
			if !errors.Is(err, ErrRefused) {
				t.Errorf("%v is not ErrRefused", err)
			}
			return
		}
		defer func() { _ = o.Close() }()
		for _, images := range o.Images() {
			entries, err := fs.ReadDir(images, ".")
			if err != nil {
				t.Error(err)
			}
			for _, e := range entries {
				file, err := images.Open(e.Name())
				if err != nil {
					t.Error(err)
					continue
				}
				n, err := io.Copy(io.Discard, file)
				if err != nil || n > int64(len(data)) {
					t.Errorf("%s: %d bytes, %v", e.Name(), n, err)
				}
			}
		}
	})
}
