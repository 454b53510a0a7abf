package archive

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"

	"github.com/checkpointctl/checkpointctl/internal/metadata"
)

// saved is an image as docker save gives it.
func saved(t *testing.T, tags, layers string, more ...entry) []byte {
	t.Helper()
	config := fmt.Sprintf(`{"rootfs":{"type":"layers","diff_ids":%s}}`, layers)
	manifest := fmt.Sprintf(`[{"Config":"config.json","RepoTags":%s,"Layers":["layer.tar"]}]`, tags)
	return pack(t, append([]entry{file("layer.tar", strings.Repeat("l", 100<<10)), file("config.json", config), file("manifest.json", manifest)}, more...))
}

// withImage is a checkpoint of a container of that image.
func withImage(t *testing.T, s metadata.Store, image []byte) []byte {
	t.Helper()
	r := record("x")
	r.ImageLayers = []string{"sha256:1"}
	e := Export{Store: s, Compression: Zstd, Image: func(context.Context) (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(image)), nil }}
	return export(t, e, publish(t, s, r, plain()))
}

func TestImage(t *testing.T) {
	good := saved(t, "null", `["sha256:1"]`)
	data := withImage(t, store(t), good)
	to := store(t)
	i := importer(to)
	rec, err := i.Read(context.Background(), bytes.NewReader(data))
	if err != nil || rec.ImageArchive != nil {
		t.Fatalf("without the image: %+v, %v", rec.ImageArchive, err)
	}
	same(t, to, rec, plain())
	var loaded bytes.Buffer
	i.Checkpoint = "y"
	i.LoadImage = func(_ context.Context, r io.Reader) error {
		if _, err := to.Get("web", "y"); !errors.Is(err, metadata.ErrNoCheckpoint) {
			t.Errorf("loaded behind the checkpoint: %v", err)
		}
		_, err := io.Copy(&loaded, r)
		return err
	}
	if rec, err = i.Read(context.Background(), bytes.NewReader(data)); err != nil || !bytes.Equal(loaded.Bytes(), good) {
		t.Fatalf("%d bytes loaded, %v", loaded.Len(), err)
	}
	same(t, to, rec, plain())
	i.Checkpoint = "z"
	full := errors.New("full")
	i.LoadImage = func(context.Context, io.Reader) error { return full }
	if _, err := i.Read(context.Background(), bytes.NewReader(data)); !errors.Is(err, full) {
		t.Errorf("Docker does not take it: %v", err)
	}
	if _, err := to.Get("web", "z"); !errors.Is(err, metadata.ErrNoCheckpoint) {
		t.Errorf("is there without its image: %v", err)
	}
	s := store(t)
	if _, err := i.Read(context.Background(), bytes.NewReader(export(t, Export{Store: s, Compression: Zstd}, publish(t, s, record("x"), plain())))); !errors.Is(err, ErrRefused) {
		t.Errorf("wanted, and not there: %v", err)
	}
}

// An image could take the name of another one, or be another one.
func TestHostileImages(t *testing.T) {
	link := entry{tar.Header{Typeflag: tar.TypeSymlink, Name: "repositories", Linkname: "elsewhere"}, ""}
	for name, test := range map[string]struct {
		image []byte
		want  string
	}{
		"a tag":            {saved(t, `["nginx:latest"]`, `["sha256:1"]`), "brings a name"},
		"an old tag":       {saved(t, "[]", `["sha256:1"]`, file("repositories", `{"nginx":{"latest":"x"}}`)), "brings a name"},
		"an OCI name":      {saved(t, "[]", `["sha256:1"]`, file("index.json", `{"manifests":[{"annotations":{"io.containerd.image.name":"nginx:latest"}}]}`)), "brings a name"},
		"two manifests":    {saved(t, "[]", `["sha256:1"]`, file("./manifest.json", `[]`)), "entry twice"},
		"a link":           {saved(t, "[]", `["sha256:1"]`, link), "no small file"},
		"other layers":     {saved(t, "[]", `["sha256:2"]`), "not have the layers"},
		"no config":        {pack(t, []entry{file("manifest.json", `[{"Config":"../config.json"}]`)}), "not have the layers"},
		"no manifest":      {pack(t, []entry{file("index.json", `{}`)}), "not of one image"},
		"several images":   {pack(t, []entry{file("manifest.json", `[{},{}]`)}), "not of one image"},
		"a broken index":   {saved(t, "[]", `["sha256:1"]`, file("index.json", `[`)), "index.json cannot be read"},
		"not a tar at all": {[]byte(strings.Repeat("x", 2000)), "invalid tar header"},
	} {
		to := store(t)
		i := importer(to)
		i.LoadImage = func(context.Context, io.Reader) error {
			t.Errorf("%s: loaded", name)
			return nil
		}
		_, err := i.Read(context.Background(), bytes.NewReader(withImage(t, store(t), test.image)))
		if !errors.Is(err, ErrRefused) || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: %v", name, err)
		}
		nothing(t, to)
	}
}
