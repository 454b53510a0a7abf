package registry

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"strconv"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"
	"oras.land/oras-go/v2/content"

	"github.com/checkpointctl/checkpointctl/internal/archive"
)

func read(t *testing.T, r *Remote) v1.Manifest {
	t.Helper()
	d, in, err := r.repo.Manifests().FetchReference(context.Background(), r.tag)
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	data, err := content.ReadAll(in, d)
	var m v1.Manifest
	if err == nil {
		err = json.Unmarshal(data, &m)
	}
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// put puts a manifest into the registry under the tag.
func put(t *testing.T, r *Remote, mediaType string, data []byte) {
	t.Helper()
	d := content.NewDescriptorFromBytes(mediaType, data)
	if err := r.repo.PushReference(context.Background(), d, bytes.NewReader(data), r.tag); err != nil {
		t.Fatal(err)
	}
}

func TestManifest(t *testing.T) {
	srv, s := serve(t), store(t)
	r := srv.open(t, "web")
	put(t, srv.open(t, "web:base"), v1.MediaTypeImageIndex, []byte(`{"schemaVersion":2,"manifests":[]}`))
	base := digest.FromString(`{"schemaVersion":2,"manifests":[]}`).String()
	missing := digest.FromString("elsewhere").String()
	rec := publish(t, s, "x", files("m"))
	done, err := r.Push(context.Background(), Push{Export: archive.Export{Store: s}, Bases: []string{missing, base}}, rec)
	if err != nil {
		t.Fatal(err)
	}
	m := read(t, r)
	if m.Subject == nil || m.Subject.Digest.String() != base || m.ArtifactType != ArtifactType || len(m.Layers) != done.Blobs-1 {
		t.Errorf("manifest: %+v", m)
	}
	for key, want := range map[string]string{
		"org.opencontainers.image.base.digest": base, "org.opencontainers.image.created": "2026-11-01T12:00:00Z", "org.criu.checkpoint.container.name": "web",
		"io.podman.annotations.checkpoint.name": "web", "io.kubernetes.cri-o.annotations.checkpoint.rootfsImageName": "app:1", "org.criu.checkpoint.criu.version": "",
		"io.podman.annotations.checkpoint.runtime.name": "",
	} {
		if got := m.Annotations[key]; got != want {
			t.Errorf("%s is %q, want %q", key, got, want)
		}
	}
	if m.Layers[1].Annotations[fileAnnotation] != "pages-1.img" || m.Layers[0].Annotations != nil {
		t.Errorf("layers: %+v", m.Layers)
	}
}

// What a registry says of a checkpoint is as little trusted as what is in it.
func TestHostileManifests(t *testing.T) {
	srv, s := serve(t), store(t)
	push(t, srv.open(t, "web:good"), s, publish(t, s, "x", files("m")))
	good := read(t, srv.open(t, "web:good"))
	for name, test := range map[string]struct {
		change    func(*v1.Manifest)
		mediaType string
		want      string
	}{
		"an image":            {change: func(m *v1.Manifest) { m.ArtifactType = "" }, want: "not a checkpoint that was pushed"},
		"an index":            {mediaType: v1.MediaTypeImageIndex, want: "not a checkpoint's manifest"},
		"no layers":           {change: func(m *v1.Manifest) { m.Layers = nil }, want: "names 0 layers"},
		"many layers":         {change: func(m *v1.Manifest) { m.Layers = make([]v1.Descriptor, maxLayers+1) }, want: "names 16385 layers"},
		"another type":        {change: func(m *v1.Manifest) { m.Layers[0].MediaType = v1.MediaTypeImageLayerZstd }, want: "a layer is of the type"},
		"a path":              {change: func(m *v1.Manifest) { m.Layers[0].Digest = "sha256:../../../../etc/passwd" }, want: "a layer has the digest"},
		"another sum":         {change: func(m *v1.Manifest) { m.Layers[0].Digest = digest.SHA512.FromString("x") }, want: "a layer has the digest"},
		"a negative size":     {change: func(m *v1.Manifest) { m.Layers[0].Size = -1 }, want: "which is the limit"},
		"a large size":        {change: func(m *v1.Manifest) { m.Layers[0].Size = 1 << 62 }, want: "which is the limit"},
		"sizes that wrap":     {change: func(m *v1.Manifest) { m.Layers[0].Size, m.Layers[1].Size = 1<<62, 1<<62 }, want: "which is the limit"},
		"a layer left out":    {change: func(m *v1.Manifest) { m.Layers = append(m.Layers[:1:1], m.Layers[2:]...) }, want: "its content is not what its record says"},
		"layers interchanged": {change: func(m *v1.Manifest) { m.Layers[0], m.Layers[1] = m.Layers[1], m.Layers[0] }, want: "cut short or damaged"},
		"a layer twice":       {change: func(m *v1.Manifest) { m.Layers = append(m.Layers, m.Layers[1]) }, want: "something is behind its end"},
		"a layer that is not there": {change: func(m *v1.Manifest) { m.Layers[0].Digest = digest.FromString("x") },
			want: "the registry does not have its layer"},
	} {
		m := good
		m.Layers = append([]v1.Descriptor{}, good.Layers...)
		if test.change != nil {
			test.change(&m)
		}
		data, err := json.Marshal(m)
		if err != nil {
			t.Fatal(err)
		}
		mediaType := v1.MediaTypeImageManifest
		if test.mediaType != "" {
			mediaType = test.mediaType
		}
		r, to := srv.open(t, "web:bad"), store(t)
		srv.set(func(w http.ResponseWriter, q *http.Request) bool {
			if !strings.HasSuffix(q.URL.Path, "/manifests/bad") {
				return false
			}
			w.Header().Set("Content-Type", mediaType)
			w.Header().Set("Content-Length", strconv.Itoa(len(data)))
			if q.Method == http.MethodGet {
				_, _ = w.Write(data)
			}
			return true
		})
		_, err = pull(r, to)
		if !errors.Is(err, archive.ErrRefused) || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: %v", name, err)
		}
		if list, _ := to.List(""); list != nil {
			t.Errorf("%s: in the store: %v", name, list)
		}
		empty(t, to)
	}
}

// A layer that is not what its digest says is refused before it is looked into.
func TestWrongLayer(t *testing.T) {
	srv, s, to := serve(t), store(t), store(t)
	push(t, srv.open(t, "web"), s, publish(t, s, "x", files("m")))
	good := read(t, srv.open(t, "web"))
	srv.set(func(w http.ResponseWriter, q *http.Request) bool {
		if q.Method != http.MethodGet || !strings.HasSuffix(q.URL.Path, "/blobs/"+good.Layers[1].Digest.String()) {
			return false
		}
		_, _ = io.CopyN(w, strings.NewReader(strings.Repeat("x", int(good.Layers[1].Size))), good.Layers[1].Size)
		return true
	})
	if _, err := pull(srv.open(t, "web"), to); !errors.Is(err, archive.ErrRefused) || !strings.Contains(err.Error(), "mismatched digest") {
		t.Errorf("got %v", err)
	}
	empty(t, to)
}

func FuzzLayersOf(f *testing.F) {
	f.Add([]byte(`{"schemaVersion":2,"mediaType":"` + v1.MediaTypeImageManifest + `","artifactType":"` + ArtifactType + `","layers":[{"mediaType":"` + layerType + `","digest":"` + digest.FromString("x").String() + `","size":3}]}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		layers, err := layersOf(v1.MediaTypeImageManifest, data, 1<<20)
		if err != nil {
			return
		}
		sum := int64(0)
		for _, l := range layers {
			if sum += l.Size; l.Size <= 0 || l.Digest.Validate() != nil || strings.Contains(l.Digest.Encoded(), "/") {
				t.Errorf("took %+v", l)
			}
		}
		if len(layers) == 0 || sum > 1<<20 {
			t.Errorf("took %d layers of %d bytes", len(layers), sum)
		}
	})
}
