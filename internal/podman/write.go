package podman

import (
	"archive/tar"
	"context"
	"io"
	"maps"
	"path"
	"path/filepath"
	"slices"
	"time"
)

const imageDir = "checkpoint"

// Write writes the archive. What was written is of no use after an error:
// metadata.ErrDamaged is one. Memory use does not depend on sizes.
func (c *Checkpoint) Write(ctx context.Context, w io.Writer) error {
	out, err := c.export.Compression.Writer(w, c.export.Level)
	if err != nil {
		return err
	}
	t := &writer{Writer: tar.NewWriter(out), at: c.record.Timestamp.UTC().Truncate(time.Second), report: c.export.Progress}
	for _, f := range c.files {
		t.total += f.SizeBytes
	}
	for _, tree := range c.trees {
		t.total += tree.size
	}
	if err := c.entries(ctx, t); err != nil {
		return err // without an end: whoever reads it shall see that it is cut short
	}
	if err := t.Close(); err != nil {
		return err
	}
	return out.Close()
}

func (c *Checkpoint) entries(ctx context.Context, t *writer) error {
	for _, name := range slices.Sorted(maps.Keys(c.made)) {
		if err := t.add(name, c.made[name]); err != nil {
			return err
		}
	}
	if err := c.links(t); err != nil {
		return err
	}
	for _, f := range c.files {
		name := path.Join(imageDir, f.File.Name)
		if f.File.Name == "dump.log" || f.File.Name == "stats-dump" {
			name = f.File.Name
		}
		if err := t.header(name, f.SizeBytes); err != nil {
			return err
		}
		if err := c.copyTo(ctx, t, f); err != nil {
			return err
		}
	}
	for _, tree := range c.trees {
		if err := t.header(tree.entry, tree.size); err != nil {
			return err
		}
		if _, err := c.merge(ctx, tree, t); err != nil {
			return err
		}
	}
	return nil
}

// links writes the directories of images, and CRIU's links from each to that of the
// round before.
func (c *Checkpoint) links(t *writer) error {
	dirs := c.record.ImageDirs()
	for _, dir := range slices.Backward(dirs) {
		if err := t.WriteHeader(&tar.Header{Typeflag: tar.TypeDir, Name: path.Join(imageDir, dir) + "/", Mode: 0o700, ModTime: t.at}); err != nil {
			return err
		}
	}
	for i := 0; i+1 < len(dirs); i++ {
		to, err := filepath.Rel(dirs[i], dirs[i+1])
		if err != nil {
			return err
		}
		if err := t.WriteHeader(&tar.Header{Typeflag: tar.TypeSymlink, Name: path.Join(imageDir, dirs[i], "parent"), Linkname: to, Mode: 0o777, ModTime: t.at}); err != nil {
			return err
		}
	}
	return nil
}

// writer writes entries that say nothing of this host and its clock.
type writer struct {
	*tar.Writer
	at          time.Time
	done, total int64
	report      func(done, total int64)
}

// Write writes the content of an entry.
func (t *writer) Write(p []byte) (int, error) {
	n, err := t.Writer.Write(p)
	if t.done += int64(n); t.report != nil {
		t.report(t.done, t.total)
	}
	return n, err
}

func (t *writer) header(name string, size int64) error {
	return t.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: name, Size: size, Mode: 0o600, ModTime: t.at})
}

func (t *writer) add(name string, data []byte) error {
	if err := t.header(name, int64(len(data))); err != nil {
		return err
	}
	_, err := t.Writer.Write(data)
	return err
}
