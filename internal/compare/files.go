package compare

import (
	"archive/tar"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"time"

	"github.com/checkpointctl/checkpointctl/internal/contents"
	"github.com/checkpointctl/checkpointctl/internal/layer"
)

// deleted is what a file is that the container deleted from its image.
const deleted = "deleted"

// maxFiles is how many files of a layer are compared.
const maxFiles = 1 << 20

// files compares the writable layers by what their tars say of files: type, mode,
// owner, size and time.
func (r *Result) files(ctx context.Context, a, b *contents.Contents) error {
	before, err := layerFiles(ctx, a)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	after, err := layerFiles(ctx, b)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	r.Files, r.FilesCompared = differences(0, before, after), true
	return nil
}

func layerFiles(ctx context.Context, c *contents.Contents) (map[string]string, error) {
	in, err := c.RootFS()
	if err != nil {
		return nil, err
	}
	defer in.Close()
	list := map[string]string{}
	for t := tar.NewReader(in); ; {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		h, err := t.Next()
		if errors.Is(err, io.EOF) {
			return list, withDeleted(c, list)
		}
		if err != nil {
			return nil, fmt.Errorf("%s: files of the layer: %w", c.Name, err)
		}
		if len(list) >= maxFiles {
			return nil, fmt.Errorf("%s: the layer has more than %d files", c.Name, maxFiles)
		}
		dir := path.Dir(h.Name)
		switch is, name := layer.WhiteoutOf(h); is {
		case layer.Opaque:
			list[inRoot(dir)+"/"] = "nothing of the image's directory is left"
			continue
		case layer.Deleted:
			list[inRoot(path.Join(dir, name))] = deleted
			continue
		}
		what := fmt.Sprintf("%s %d:%d", h.FileInfo().Mode(), h.Uid, h.Gid)
		switch h.Typeflag {
		case tar.TypeReg:
			what += fmt.Sprintf(", %d bytes, of %s", h.Size, h.ModTime.UTC().Format(time.RFC3339Nano))
		case tar.TypeSymlink, tar.TypeLink:
			what += ", to " + h.Linkname
		}
		list[inRoot(h.Name)] = what
	}
}

func inRoot(name string) string { return path.Clean("/" + name) }

// withDeleted adds what is not in the tar because it is deleted.
func withDeleted(c *contents.Contents, list map[string]string) error {
	names, err := c.Deleted()
	if err != nil {
		return fmt.Errorf("%s: deleted files: %w", c.Name, err)
	}
	for _, name := range names {
		list[inRoot(name)] = deleted
	}
	return nil
}
