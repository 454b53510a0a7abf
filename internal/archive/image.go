package archive

import (
	"archive/tar"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io"
	"os"
	"path"
	"slices"

	"github.com/checkpointctl/checkpointctl/internal/metadata"
)

// temporary opens a file without a name.
func temporary(dir string) (*os.File, error) {
	f, err := os.CreateTemp(dir, ".archive-*")
	if err != nil {
		return nil, err
	}
	if err := os.Remove(f.Name()); err != nil { // a run that is killed leaves none
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}

// image copies the container's image, if it is wanted, and notes it in the record. It
// is to be closed; nil if there is none.
func (e Export) image(ctx context.Context, rec *metadata.Record) (*os.File, error) {
	if e.Image == nil {
		return nil, nil
	}
	in, err := e.Image(ctx)
	if err != nil {
		return nil, err
	}
	defer in.Close()
	out, err := temporary(e.Store.Dir)
	if err != nil {
		return nil, err
	}
	sum := sha256.New()
	n, err := io.Copy(io.MultiWriter(out, sum), Stoppable(ctx, in))
	if err == nil {
		_, err = out.Seek(0, io.SeekStart)
	}
	if err != nil {
		return nil, errors.Join(err, out.Close())
	}
	rec.ImageArchive = &metadata.File{Name: imageEntry, SizeBytes: n, SHA256: hex.EncodeToString(sum.Sum(nil))}
	return out, nil
}

// image is that of an archive, on its way to Docker.
type image struct {
	load func(context.Context, io.Reader) error // nil if nobody wants it
	file *os.File
}

// read compares the image with the record, and keeps it if it is wanted.
func (i *image) read(t *reader, h *tar.Header, dir string, f *metadata.File, p *progress) error {
	if i.load == nil {
		return t.content(h, io.Discard, f, p)
	}
	var err error
	if i.file, err = temporary(dir); err != nil {
		return err
	}
	return t.content(h, i.file, f, p)
}

// take hands the image over if it is the one of the record.
func (i *image) take(ctx context.Context, rec metadata.Record) error {
	if i.file == nil {
		return nil
	}
	if err := checkImage(i.file, rec.ImageLayers); err != nil {
		return refused("its image: %w", err)
	}
	if _, err := i.file.Seek(0, io.SeekStart); err != nil {
		return err
	}
	return i.load(ctx, i.file)
}

func (i *image) close() {
	if i.file != nil {
		_ = i.file.Close()
	}
}

// Names of what docker save writes beside layers and configs.
const (
	savedManifest = "manifest.json"
	savedTags     = "repositories"
	savedIndex    = "index.json" // of Docker 25 and later
	maxSaved      = 1 << 20
)

// checkImage refuses what is not one image, without a name, of these layers: docker
// load gives an image the names that it brings, also those of others.
func checkImage(r io.ReadSeeker, layers []string) error {
	found, err := savedFiles(r, savedManifest, savedTags, savedIndex)
	if err != nil {
		return err
	}
	var images []struct {
		Config   string
		RepoTags []string
	}
	if err := json.Unmarshal(found[savedManifest], &images); err != nil || len(images) != 1 {
		return errors.New("its manifest.json is not of one image")
	}
	var tags map[string]any
	var index struct {
		Manifests []struct{ Annotations map[string]string }
	}
	for name, into := range map[string]any{savedTags: &tags, savedIndex: &index} {
		if data, there := found[name]; there && json.Unmarshal(data, into) != nil {
			return errors.New("its " + name + " cannot be read")
		}
	}
	named := len(images[0].RepoTags) > 0 || len(tags) > 0
	for _, m := range index.Manifests {
		named = named || m.Annotations["io.containerd.image.name"] != "" || m.Annotations["org.opencontainers.image.ref.name"] != ""
	}
	if named {
		return errors.New("it brings a name")
	}
	config := path.Clean(images[0].Config)
	if found, err = savedFiles(r, config); err != nil {
		return err
	}
	var c struct {
		RootFS struct {
			DiffIDs []string `json:"diff_ids"`
		} `json:"rootfs"`
	}
	if err := json.Unmarshal(found[config], &c); err != nil || !slices.Equal(c.RootFS.DiffIDs, layers) {
		return errors.New("it does not have the layers of the container's image")
	}
	return nil
}

// savedFiles returns small files of a tar, by name. A name that is there twice is an
// error: others may take the other one.
func savedFiles(r io.ReadSeeker, names ...string) (map[string][]byte, error) {
	if _, err := r.Seek(0, io.SeekStart); err != nil {
		return nil, err
	}
	seen, found := map[string]bool{}, map[string][]byte{}
	for t := tar.NewReader(r); ; {
		h, err := t.Next()
		if errors.Is(err, io.EOF) {
			return found, nil
		}
		if err != nil {
			return nil, err
		}
		name := path.Clean(h.Name)
		if seen[name] || len(seen) > maxFiles {
			return nil, errors.New("it has an entry twice, or too many")
		}
		seen[name] = true
		if !slices.Contains(names, name) {
			continue
		}
		if h.Typeflag != tar.TypeReg || h.Size > maxSaved {
			return nil, errors.New("its " + name + " is no small file")
		}
		if found[name], err = io.ReadAll(t); err != nil {
			return nil, err
		}
	}
}
