// Package contents opens a checkpoint for looking into it, wherever it is: in the store,
// in an archive of this or another program, or in a directory of images.
package contents

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/checkpointctl/checkpointctl/internal/archive"
	"github.com/checkpointctl/checkpointctl/internal/checkpoint"
	"github.com/checkpointctl/checkpointctl/internal/criuimg"
	"github.com/checkpointctl/checkpointctl/internal/metadata"
	"github.com/checkpointctl/checkpointctl/internal/seal"
)

// Contents are what there is of a checkpoint. They are to be closed.
type Contents struct {
	Name   string           // as in web/before-upgrade, or of the file
	Record *metadata.Record // nil if another program made it
	Config *archive.Config  // what that says of the container; nil for none
	Images criuimg.Chain

	rootFS  func() (io.ReadCloser, error)
	deleted func() ([]string, error)
	close   func() error
}

// RootFS opens the tar of the container's writable layer. The error is fs.ErrNotExist
// if there is none, or if it is encrypted.
func (c *Contents) RootFS() (io.ReadCloser, error) {
	if c.rootFS == nil {
		return nil, fs.ErrNotExist
	}
	return c.rootFS()
}

// Deleted returns the paths of deleted files, where they are not in the layer's tar.
func (c *Contents) Deleted() ([]string, error) {
	if c.deleted == nil {
		return nil, nil
	}
	return c.deleted()
}

// Close closes what is open, and removes what was unpacked.
func (c *Contents) Close() error {
	if c.close == nil {
		return nil
	}
	return c.close()
}

// ErrSealedInside is an archive that is not encrypted, of a checkpoint that is.
var ErrSealedInside = errors.New("the checkpoint in the archive is encrypted: import it, and show it then")

// FromStore opens a checkpoint of the store. An encrypted one is opened into a stage,
// for which the opener has identities.
func FromStore(ctx context.Context, s metadata.Store, r metadata.Record, opener checkpoint.Opener) (*Contents, error) {
	c := &Contents{Name: r.Name + "/" + r.Checkpoint, Record: &r}
	if r.Encrypted {
		stage, _, _, err := opener.Open(ctx, s, r)
		if err != nil {
			return nil, err
		}
		c.close = stage.Remove
		for _, dir := range r.ImageDirs() {
			c.Images = append(c.Images, criuimg.Dir(filepath.Join(stage.Dir, dir)))
		}
		return c, nil
	}
	chain, err := s.Chain(r)
	if err != nil {
		return nil, err
	}
	for _, link := range chain {
		for _, dir := range link.ImageDirs() {
			c.Images = append(c.Images, criuimg.Dir(filepath.Join(s.Path(link.Name, link.Checkpoint), dir)))
		}
	}
	if part, ok := r.Part(metadata.PartRootFS); ok {
		c.rootFS = func() (io.ReadCloser, error) { return s.OpenFile(r, part.File) }
	}
	return c, nil
}

// FromFile opens an archive, or a directory of images with those that CRIU's parent
// links lead to.
func FromFile(ctx context.Context, path string, ids seal.Identities, stageDir string) (*Contents, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if info.IsDir() {
		return fromDir(path)
	}
	a, err := archive.Look(ctx, path, ids, stageDir)
	if err != nil {
		return nil, err
	}
	if a.Encrypted() {
		return nil, errors.Join(ErrSealedInside, a.Close())
	}
	c := &Contents{Name: path, Record: a.Record, Images: a.Images(), rootFS: a.RootFS, deleted: a.Deleted, close: a.Close}
	if a.Record == nil {
		c.Config = &a.Config
	}
	return c, nil
}

// maxLinks ends links to parents that go in a circle.
const maxLinks = 1000

func fromDir(dir string) (*Contents, error) {
	c := &Contents{Name: dir}
	for len(c.Images) < maxLinks {
		c.Images = append(c.Images, criuimg.Dir(dir))
		to, err := os.Readlink(filepath.Join(dir, "parent"))
		if errors.Is(err, fs.ErrNotExist) {
			return c, nil
		}
		if err != nil {
			return nil, err
		}
		dir = filepath.Join(dir, to)
	}
	return nil, errors.New("the links to parents go in a circle")
}
