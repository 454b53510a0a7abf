package report

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"encoding/json"
	"errors"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/checkpointctl/checkpointctl/internal/archive"
	"github.com/checkpointctl/checkpointctl/internal/contents"
	"github.com/checkpointctl/checkpointctl/internal/criuimg/criuimgtest"
)

func sample() criuimgtest.Sample {
	return criuimgtest.Sample{
		Name: "app", Args: []string{"/bin/app", "--password=hunter2"}, Env: []string{"HOME=/", "API_TOKEN=hunter2"}, Port: 80,
		Heap: make([]byte, 3*criuimgtest.PageSize), Shared: []byte("shared"), Old: 1,
	}
}

func open(t *testing.T, file string) *contents.Contents {
	t.Helper()
	c, err := contents.FromFile(t.Context(), file, nil, "")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	})
	return c
}

// podman packs a directory of images as Podman does, with the images of a parent
// beside them.
func podman(t *testing.T, dir string) []byte {
	t.Helper()
	var out bytes.Buffer
	zipped := gzip.NewWriter(&out)
	w := tar.NewWriter(zipped)
	add := func(h *tar.Header, data []byte) {
		h.Size, h.Mode = int64(len(data)), 0o600
		err := w.WriteHeader(h)
		if err == nil {
			_, err = w.Write(data)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	add(&tar.Header{Name: "./config.dump", Typeflag: tar.TypeReg}, []byte(`{"id":"0123456789abcdef","name":"web","rootfsImageName":"docker.io/nginx"}`))
	add(&tar.Header{Name: "checkpoint/parent", Typeflag: tar.TypeSymlink, Linkname: "../pre-checkpoint"}, nil)
	err := filepath.WalkDir(dir, func(file string, e fs.DirEntry, err error) error {
		if err != nil || !e.Type().IsRegular() {
			return err
		}
		data, err := os.ReadFile(file)
		name := path.Join("checkpoint", e.Name())
		if filepath.Base(filepath.Dir(file)) == "pre-dump" {
			name = path.Join("pre-checkpoint", e.Name())
		}
		add(&tar.Header{Name: name, Typeflag: tar.TypeReg}, data)
		return err
	})
	if err = errors.Join(err, w.Close(), zipped.Close()); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

// A directory, and an archive of it, plain or compressed, hold the same.
func TestDocumentIsTheSameWhereverItIs(t *testing.T) {
	dir, _ := sample().Write(t)
	file := filepath.Join(t.TempDir(), "podman.tar.gz")
	criuimgtest.Write(t, filepath.Dir(file), map[string][]byte{"podman.tar.gz": podman(t, dir)})
	unzipped, err := gzip.NewReader(bytes.NewReader(podman(t, dir)))
	if err != nil {
		t.Fatal(err)
	}
	plain, err := io.ReadAll(unzipped)
	if err != nil {
		t.Fatal(err)
	}
	criuimgtest.Write(t, filepath.Dir(file), map[string][]byte{"plain.tar": plain})
	var texts []string
	for _, from := range []string{dir, file, filepath.Join(filepath.Dir(file), "plain.tar")} {
		d, err := Make(open(t, from), Options{View: All})
		if err != nil {
			t.Fatal(err)
		}
		if from != dir && (d.Overview.Container != "web" || d.Overview.Image != "docker.io/nginx" || d.Overview.Links != 2) {
			t.Errorf("%s: %+v", from, d.Overview)
		}
		d.Overview.Name, d.Overview.Container, d.Overview.ID, d.Overview.Image = "", "", "", ""
		text, err := json.Marshal(d)
		if err != nil {
			t.Fatal(err)
		}
		texts = append(texts, string(text))
	}
	if texts[0] != texts[1] || texts[0] != texts[2] {
		t.Errorf("they differ:\n%s\n%s\n%s", texts[0], texts[1], texts[2])
	}
	for _, want := range []string{`"in_parent":1`, `"args":["/bin/app","--password=(hidden)"]`, `"API_TOKEN=(hidden)"`, `"receive_queue_bytes":5`, `"deleted":true`, `address 172.17.0.2`} {
		if !strings.Contains(texts[0], want) {
			t.Errorf("no %s in %s", want, texts[0])
		}
	}
	if strings.Contains(texts[0], "hunter2") {
		t.Error("a secret is shown")
	}
}

func TestOptions(t *testing.T) {
	dir, _ := sample().Write(t)
	c := open(t, dir)
	d, err := Make(c, Options{View: Env, PID: 1, Secrets: true})
	if err != nil || len(d.Env) != 1 || !slices.Equal(d.Env[0].Env, sample().Env) || d.Processes != nil || d.Overview != nil {
		t.Errorf("%+v, %v", d, err)
	}
	if d, err = Make(c, Options{View: Sockets, PID: 5}); err != nil || len(d.Sockets) != 0 {
		t.Errorf("%+v, %v", d, err)
	}
	if _, err := Make(c, Options{View: Maps, PID: 99}); !errors.Is(err, ErrNoProcess) {
		t.Error(err)
	}
}

func TestOverviewCountsSharedMemoryOnce(t *testing.T) {
	dir, _ := sample().Write(t)
	d, err := Make(open(t, dir), Options{View: Overall})
	if err != nil {
		t.Fatal(err)
	}
	o := d.Overview
	if o.Processes != 3 || o.Threads != 3 || o.FDs != 5 || o.Sockets != 2 || o.Hostname != "box" {
		t.Errorf("%+v", o)
	}
	for _, a := range o.Memory {
		if a.Kind == "shared" && a.Images != criuimgtest.PageSize || a.Kind == "heap" && a.Parent != criuimgtest.PageSize {
			t.Errorf("%+v", a)
		}
	}
}

// What is no archive of a checkpoint is refused.
func TestOtherFiles(t *testing.T) {
	dir := t.TempDir()
	var other bytes.Buffer
	w := tar.NewWriter(&other)
	if err := errors.Join(w.WriteHeader(&tar.Header{Name: "etc/passwd", Typeflag: tar.TypeReg}), w.Close()); err != nil {
		t.Fatal(err)
	}
	criuimgtest.Write(t, dir, map[string][]byte{"empty": nil, "text": bytes.Repeat([]byte("no archive\n"), 100), "other.tar": other.Bytes(), "cut.gz": podmanCut(t)})
	for _, name := range []string{"empty", "text", "other.tar", "cut.gz"} {
		if _, err := contents.FromFile(t.Context(), filepath.Join(dir, name), nil, ""); !errors.Is(err, archive.ErrRefused) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func podmanCut(t *testing.T) []byte {
	t.Helper()
	dir, _ := sample().Write(t)
	data := podman(t, dir)
	return data[:len(data)/2]
}
