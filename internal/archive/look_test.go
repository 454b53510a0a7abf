package archive

import (
	"archive/tar"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	"github.com/klauspost/compress/gzip"
	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/specs-go"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"
)

// ofPodman is a tar as Podman writes it, whose links to parents go in a circle.
func ofPodman(t testing.TB) []byte {
	t.Helper()
	link := func(name, to string) entry {
		return entry{tar.Header{Typeflag: tar.TypeSymlink, Name: name, Linkname: to}, ""}
	}
	return pack(t, []entry{
		file("./config.dump", `{"name":"web"}`), file("checkpoint/pstree.img", "pstree"), link("checkpoint/parent", "../pre-checkpoint"),
		file("pre-checkpoint/pages-1.img", "pages"), link("pre-checkpoint/parent", "../checkpoint"), file("rootfs-diff.tar", "layer"), file("stats-dump", "stats"),
		file("deleted.files", `["/etc/gone"]`),
	})
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
	if deleted, err := o.Deleted(); err != nil || len(deleted) != 1 || deleted[0] != "/etc/gone" {
		t.Errorf("%q, %v", deleted, err)
	}
}

// blobs are those of an image in an OCI layout.
type blobs struct {
	t    testing.TB
	list []entry
}

func (b *blobs) add(mediaType string, data []byte) v1.Descriptor {
	d := v1.Descriptor{MediaType: mediaType, Digest: digest.FromBytes(data), Size: int64(len(data))}
	b.list = append(b.list, file("blobs/sha256/"+d.Digest.Encoded(), string(data)))
	return d
}

func (b *blobs) json(mediaType string, document any) v1.Descriptor {
	b.t.Helper()
	data, err := json.Marshal(document)
	if err != nil {
		b.t.Fatal(err)
	}
	return b.add(mediaType, data)
}

// layout is the tar of an image, whose index names these.
func (b *blobs) layout(top ...v1.Descriptor) []byte {
	b.t.Helper()
	index, err := json.Marshal(v1.Index{Versioned: specs.Versioned{SchemaVersion: 2}, Manifests: top})
	if err != nil {
		b.t.Fatal(err)
	}
	return pack(b.t, append(b.list, file("index.json", string(index)), file("oci-layout", `{"imageLayoutVersion":"1.0.0"}`)))
}

func zipped(t testing.TB, data []byte) []byte {
	t.Helper()
	var out bytes.Buffer
	w := gzip.NewWriter(&out)
	if _, err := w.Write(data); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

// ofContainerd is what ctr image export writes of what ctr container checkpoint made,
// with the container's image and layer.
func ofContainerd(t testing.TB) []byte {
	t.Helper()
	b := &blobs{t: t}
	layer := b.add(v1.MediaTypeImageLayerGzip, zipped(t, pack(t, []entry{file("etc/new", "new")})))
	of := b.add(v1.MediaTypeImageLayerGzip, zipped(t, pack(t, []entry{file("bin/sh", "shell")})))
	index := v1.Index{
		Annotations: map[string]string{v1.AnnotationRefName: "docker.io/library/web:1", "io.containerd.checkpoint.runtime": "io.containerd.runc.v2"},
		Manifests: []v1.Descriptor{
			b.json(v1.MediaTypeImageManifest, v1.Manifest{Layers: []v1.Descriptor{of}}), layer,
			b.add(containerdImages, pack(t, []entry{file("pstree.img", "pstree"), file("descriptors.json", "[]")})),
			b.add("application/vnd.containerd.container.checkpoint.config.v1+proto", []byte("spec")),
		},
	}
	return b.layout(b.json(v1.MediaTypeImageIndex, index))
}

func TestLookAtContainerd(t *testing.T) {
	o, err := look(t, ofContainerd(t))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = o.Close() }()
	if images := o.Images(); len(images) != 1 || o.Config.RootfsImageName != "docker.io/library/web:1" || o.Config.OCIRuntime != "io.containerd.runc.v2" {
		t.Fatalf("%d directories, %+v", len(images), o.Config)
	}
	if data, err := fs.ReadFile(o.Images()[0], "pstree.img"); err != nil || string(data) != "pstree" {
		t.Errorf("%q, %v", data, err)
	}
	layer, err := o.RootFS()
	if err != nil {
		t.Fatal(err)
	}
	defer layer.Close()
	if h, err := tar.NewReader(layer).Next(); err != nil || h.Name != "etc/new" {
		t.Errorf("%+v, %v", h, err)
	}
}

// What CRI-O and containerd write for a kubelet: Podman's names, and as those of more
// files (CRI-O, internal/lib/checkpoint.go; containerd,
// internal/cri/server/container_checkpoint_linux.go, whose layer is compressed). CRI-O
// also restores it from an image of which it is the layer.
func TestLookAtKubernetes(t *testing.T) {
	list := []entry{
		file("bind.mounts", "[]"), file("checkpoint/pstree.img", "pstree"), file("config.dump", `{"id":"0123","name":"counter","rootfsImageName":"quay.io/counter:1"}`),
		file("dump.log", "log"), file("io.kubernetes.cri-o.LogPath", "log"), file("rootfs-diff.tar", string(zipped(t, pack(t, []entry{file("etc/new", "new")})))),
		file("spec.dump", "{}"), file("stats-dump", "stats"), file("status.dump", "{}"),
	}
	image := func(compress func([]byte) []byte) []byte {
		b := &blobs{t: t}
		m := v1.Manifest{Layers: []v1.Descriptor{b.add(v1.MediaTypeImageLayerGzip, compress(pack(t, list)))}, Annotations: map[string]string{"io.kubernetes.cri-o.annotations.checkpoint.name": "counter"}}
		return b.layout(b.json(v1.MediaTypeImageManifest, m))
	}
	for name, data := range map[string][]byte{
		"archive":          pack(t, list),
		"image":            image(func(data []byte) []byte { return data }),
		"compressed image": image(func(data []byte) []byte { return zipped(t, data) }),
	} {
		o, err := look(t, data)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if o.Config.Name != "counter" || len(o.Images()) != 1 {
			t.Errorf("%s: %+v", name, o.Config)
		}
		for file, want := range map[string]string{"pstree.img": "pstree", "stats-dump": "stats"} {
			if got, err := fs.ReadFile(o.Images()[0], file); err != nil || string(got) != want {
				t.Errorf("%s: %s: %q, %v", name, file, got, err)
			}
		}
		if layer, err := o.RootFS(); err != nil {
			t.Errorf("%s: %v", name, err)
		} else if h, err := tar.NewReader(layer).Next(); err != nil || h.Name != "etc/new" {
			t.Errorf("%s: %+v, %v", name, h, err)
		}
		if err := o.Close(); err != nil {
			t.Error(err)
		}
	}
}

// Images that are no checkpoints are refused, and so are indexes that name themselves.
func TestLookAtOtherImages(t *testing.T) {
	plain, circle := &blobs{t: t}, &blobs{t: t}
	list := make([]v1.Descriptor, 100)
	for i := range list {
		list[i] = circle.json(v1.MediaTypeImageIndex, v1.Index{ArtifactType: fmt.Sprint(i)})
	}
	for name, data := range map[string][]byte{
		"image":        plain.layout(plain.json(v1.MediaTypeImageManifest, v1.Manifest{Layers: []v1.Descriptor{plain.add(v1.MediaTypeImageLayer, []byte("not read"))}})),
		"many indexes": circle.layout(list...),
		"missing blob": plain.layout(v1.Descriptor{MediaType: containerdImages, Digest: digest.FromString("x")}),
		"bad digest":   plain.layout(v1.Descriptor{MediaType: containerdImages, Digest: "sha256:../../etc/passwd"}),
	} {
		if _, err := look(t, data); !errors.Is(err, ErrRefused) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// Whatever a file holds, it is refused, or what it names can be read or not.
func FuzzLook(f *testing.F) {
	f.Add(ofPodman(f))
	f.Add(ofContainerd(f))
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
		_, _ = o.Deleted()
		if layer, err := o.RootFS(); err == nil {
			for files := tar.NewReader(io.LimitReader(layer, 1<<20)); err == nil; {
				_, err = files.Next()
			}
			_ = layer.Close()
		}
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
