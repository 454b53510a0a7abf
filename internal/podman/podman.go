// Package podman writes a checkpoint of a Docker container as an archive that `podman
// container restore --import` takes: CRIU's images, the container's files, and a
// configuration of the container in Podman's words. The names in the archive are those of
// github.com/checkpoint-restore/checkpointctl/lib, and what Podman does with them is in
// its pkg/checkpoint and libpod/container_internal_common.go.
package podman

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"

	"github.com/checkpointctl/checkpointctl/internal/archive"
	"github.com/checkpointctl/checkpointctl/internal/checkpoint"
	"github.com/checkpointctl/checkpointctl/internal/criuimg"
	"github.com/checkpointctl/checkpointctl/internal/layer"
	"github.com/checkpointctl/checkpointctl/internal/metadata"
	"github.com/checkpointctl/checkpointctl/internal/seal"
)

// RefusedError says why Podman could not restore a checkpoint. Nothing was written.
type RefusedError struct {
	Checkpoint string
	Reasons    []string
}

func (e *RefusedError) Error() string {
	return fmt.Sprintf("%s cannot be restored by Podman: %s", e.Checkpoint, strings.Join(e.Reasons, "; "))
}

// Export is how checkpoints are written.
type Export struct {
	Store       metadata.Store
	Opener      checkpoint.Opener // for encrypted ones
	Compression archive.Compression
	Level       int // 0: the compression's default
	// Progress, if set, hears of the bytes that are written, and of how many there are.
	Progress func(done, total int64)
}

// Checkpoint is one that Podman can restore. It is to be closed.
type Checkpoint struct {
	// Warnings are what is left out, and what the restore has to be told.
	Warnings []string

	export Export
	record metadata.Record // that needs no other
	stage  *metadata.Stage // with the images of an encrypted one
	sealed *seal.Opener    // of its large files
	files  []archive.Source
	trees  []*tree
	made   map[string][]byte // small entries, by name
}

// Open reads the checkpoint and makes Podman's configuration. All that stands against
// it is found here: a *RefusedError, archive.ErrNotExportable, metadata.ErrDamaged, and
// the errors of package seal. The container's files are read once to know their size.
func (e Export) Open(ctx context.Context, rec metadata.Record) (*Checkpoint, error) {
	c := &Checkpoint{export: e, record: rec, made: map[string][]byte{}}
	err := c.open(ctx, rec)
	if err == nil {
		err = c.configure(ctx)
	}
	if err == nil {
		err = c.readTrees(ctx)
	}
	if err != nil {
		return nil, errors.Join(err, c.Close())
	}
	return c, nil
}

// open finds the files.
func (c *Checkpoint) open(ctx context.Context, rec metadata.Record) error {
	if rec.Imported != nil {
		return c.refused("it was imported, and Podman would take all that its archive asks for: export it where it was made")
	}
	chain, err := archive.Chain(c.export.Store, rec)
	if err != nil {
		return err
	}
	c.record, c.files = archive.Flatten(chain)
	if !rec.Encrypted {
		return nil
	}
	stage, sealed, opened, err := c.export.Opener.Open(ctx, c.export.Store, rec)
	if err != nil {
		return err
	}
	c.stage, c.sealed, c.files = stage, sealed, nil
	for _, f := range opened.Files {
		c.files = append(c.files, archive.Source{File: f, Of: opened, Name: f.Name})
	}
	for _, name := range checkpoint.LargeFiles(rec) {
		c.files = append(c.files, archive.Source{File: metadata.File{Name: name}, Of: rec, Name: name})
	}
	return nil
}

// Close removes what was decrypted.
func (c *Checkpoint) Close() error {
	if c.stage == nil {
		return nil
	}
	return c.stage.Remove()
}

// images are CRIU's final ones.
func (c *Checkpoint) images() fs.FS {
	if c.stage != nil {
		return criuimg.Dir(c.stage.Dir)
	}
	return criuimg.Dir(c.export.Store.Path(c.record.Name, c.record.Checkpoint))
}

// reader opens a file as it was before encryption.
func (c *Checkpoint) reader(f archive.Source) (io.ReadCloser, error) {
	if c.stage == nil {
		return c.export.Store.OpenFile(f.Of, f.Name)
	}
	in, err := os.Open(filepath.Join(c.stage.Dir, f.Name))
	if !errors.Is(err, fs.ErrNotExist) {
		return in, err
	}
	return c.sealed.Open(f.Name)
}

// damaged is the error of a file that is not as recorded.
func (c *Checkpoint) damaged(name string, how any) error {
	return c.record.Damaged(fmt.Sprintf("%s: %v", name, how))
}

// copyTo writes what a file holds, and compares it with the record. An encrypted file is
// authenticated as it is opened, and has no sum.
func (c *Checkpoint) copyTo(ctx context.Context, to io.Writer, f archive.Source) error {
	in, err := c.reader(f)
	if errors.Is(err, fs.ErrNotExist) {
		return c.damaged(f.Name, "missing")
	}
	if err != nil {
		return err
	}
	defer in.Close()
	sums := metadata.NewSums()
	if _, err = io.CopyBuffer(io.MultiWriter(to, sums), archive.Stoppable(ctx, in), make([]byte, 256<<10)); err != nil {
		return err
	}
	if f.CRC32C+f.SHA256 != "" && !sums.File(f.Name).Fits(f.File) {
		return c.damaged(f.Name, "content changed")
	}
	return nil
}

// read reads a JSON document among the images; fs.ErrNotExist if there is none.
func (c *Checkpoint) read(ctx context.Context, name string, into any) error {
	for _, f := range c.files {
		if f.File.Name != name {
			continue
		}
		var data strings.Builder
		if err := c.copyTo(ctx, &data, f); err != nil {
			return err
		}
		if err := json.Unmarshal([]byte(data.String()), into); err != nil {
			return c.damaged(name, err)
		}
		return nil
	}
	return fs.ErrNotExist
}

// tree is a tar of files, as Podman unpacks it.
type tree struct {
	entry string
	from  archive.Source
	kind  layer.Kind
	size  int64
}

// readTrees finds the size of each, and what is deleted of the image.
func (c *Checkpoint) readTrees(ctx context.Context) error {
	var images []archive.Source
	for _, f := range c.files {
		t := tree{from: f}
		volume, isVolume := strings.CutPrefix(f.File.Name, "volume-")
		switch {
		case f.File.Name == "rootfs.tar":
			t.entry, t.kind = "rootfs-diff.tar", layer.Overlay
		case f.File.Name == checkpoint.ShmFile:
			t.entry = "devshm-checkpoint.tar"
		case isVolume && strings.HasSuffix(volume, ".tar"):
			t.entry = path.Join("volumes", volume)
		default:
			images = append(images, f)
			continue
		}
		var n counter
		deleted, err := c.merge(ctx, &t, &n)
		if errors.Is(err, layer.ErrOtherImage) {
			return c.refused(fmt.Sprintf("%s: %v", f.File.Name, err))
		}
		if err != nil {
			return err
		}
		t.size = int64(n)
		c.trees = append(c.trees, &t)
		if deleted == nil {
			continue
		}
		if c.made["deleted.files"], err = encoded(deleted); err != nil {
			return err
		}
	}
	c.files = images
	return nil
}

// counter counts what is written to it.
type counter int64

func (n *counter) Write(p []byte) (int, error) {
	*n += counter(len(p))
	return len(p), nil
}

// merge writes a tree, and returns what is deleted of the image.
func (c *Checkpoint) merge(ctx context.Context, t *tree, to io.Writer) (deleted []string, err error) {
	in, from := io.Pipe()
	copied := make(chan error, 1)
	go func() {
		err := c.copyTo(ctx, from, t.from)
		_ = from.CloseWithError(err)
		copied <- err
	}()
	deleted, err = layer.Merge(ctx, in, to, t.kind)
	if err == nil {
		_, err = io.Copy(io.Discard, in) // what is behind the end is in the sum, too
	}
	_ = in.CloseWithError(io.ErrClosedPipe)
	switch copyErr := <-copied; {
	case copyErr != nil && !errors.Is(copyErr, io.ErrClosedPipe):
		return nil, copyErr
	case errors.Is(err, layer.ErrBadTar):
		return nil, c.damaged(t.from.Name, err)
	}
	return deleted, err
}
