package restore

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"time"

	"github.com/checkpointctl/checkpointctl/internal/changes"
	"github.com/checkpointctl/checkpointctl/internal/docker"
	"github.com/checkpointctl/checkpointctl/internal/layer"
	"github.com/checkpointctl/checkpointctl/internal/metadata"
)

// fill is a tree of files that is to become the checkpoint's.
type fill struct {
	part   metadata.Part
	source string // on the host
}

// fillOf returns what would make the checkpoint's files of a place. What others
// may have changed with good reason is not touched.
func fillOf(rec metadata.Record, p changes.Place) (fill, bool) {
	for _, part := range rec.Parts {
		if part.File != "" && part.Name != metadata.PartShm && part.Destination == p.Path && !p.Shared && p.Layer == (part.Name == metadata.PartRootFS) {
			return fill{part, p.Source}, true
		}
	}
	return fill{}, false
}

func (f fill) kind() layer.Kind {
	if f.part.Name == metadata.PartRootFS {
		return layer.Overlay
	}
	return layer.Plain
}

// markOf is how a tree says that it was made of a checkpoint's part.
func markOf(rec metadata.Record, part string) string {
	return fmt.Sprint(rec.ID, " ", rec.FrozenAt.UnixNano(), " ", part)
}

// rolled are the files of one container that were rolled back, and can be put
// back as they were.
type rolled struct {
	*Restorer
	of    string // the container's name in the store
	note  layer.Rollback
	fills []fill
}

// rollBack gives a stopped container the checkpoint's files. What was there stays
// beside until finish or undo. After an error all is as before.
func (r *Restorer) rollBack(ctx context.Context, c docker.Container, from source, fills []fill) (*rolled, error) {
	if len(fills) == 0 {
		return nil, nil
	}
	out := &rolled{Restorer: r, of: from.Name, fills: fills}
	out.note = layer.Rollback{ID: c.ID, Container: c.Name, Checkpoint: from.Name + "/" + from.Checkpoint, Began: time.Now()}
	for _, f := range fills {
		out.note.Trees = append(out.note.Trees, layer.Beside(f.source))
	}
	err := r.Store.NoteRollback(out.of, out.note)
	if err == nil {
		err = out.make(ctx, c, from)
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("rolling back the files of %s: %w", c.Name, err), out.undo())
	}
	return out, nil
}

func (b *rolled) make(ctx context.Context, c docker.Container, from source) error {
	var read atomic.Int64
	files := Progress{Done: read.Load}
	for _, f := range b.fills {
		files.Bytes += f.part.SizeBytes
	}
	b.happened(from.Record, StateFiles, files)
	for i, f := range b.fills {
		t := &b.note.Trees[i]
		err := t.Make()
		if err == nil {
			err = extract(ctx, from, f, t.Other, &read)
		}
		if err == nil {
			err = t.Sync()
		}
		if err != nil {
			return err
		}
	}
	if err := b.stopped(ctx, c); err != nil {
		return err
	}
	for _, t := range b.note.Trees {
		if used, err := layer.InUse(t.Live); err != nil || used {
			return errors.Join(err, fmt.Errorf("%s is mounted: is a docker cp or export under way?", t.Live))
		}
	}
	b.note.Swapping = true
	if err := b.Store.NoteRollback(b.of, b.note); err != nil {
		return err
	}
	for _, t := range b.note.Trees {
		if err := t.Swap(); err != nil {
			return err
		}
	}
	for i, t := range b.note.Trees {
		if _, err := layer.Mark(t.Live, markOf(from.Record, b.fills[i].part.Name)); err != nil {
			b.warn(fmt.Sprintf("a later restore of %s will ask for --files again: %v", b.note.Checkpoint, err))
		}
	}
	return nil
}

// extract makes the checkpoint's files in an empty directory, and counts the bytes that
// it reads.
func extract(ctx context.Context, from source, f fill, dir string, read *atomic.Int64) error {
	in, err := from.open(f.part.File)
	if err != nil {
		return err
	}
	defer in.Close()
	n, err := layer.Extract(ctx, counted{in, read}, f.part.SizeBytes, dir, layer.Target{Kind: f.kind(), SameImage: true})
	if err == nil && n != f.part.Entries {
		err = fmt.Errorf("%w: it has %d entries, want %d", layer.ErrBadTar, n, f.part.Entries)
	}
	if errors.Is(err, layer.ErrBadTar) {
		return from.Damaged(f.part.File + ": " + err.Error())
	}
	return err
}

// counted counts the bytes that are read from it.
type counted struct {
	io.Reader
	n *atomic.Int64
}

func (c counted) Read(data []byte) (int, error) {
	n, err := c.Reader.Read(data)
	c.n.Add(int64(n))
	return n, err
}

// undo puts back what was there. Nothing is done while the container runs, or
// nobody can say whether: a later run or repair will know.
func (b *rolled) undo() error {
	if b == nil {
		return nil
	}
	now, err := b.Docker.Inspect(context.Background(), b.note.ID)
	if err != nil {
		return fmt.Errorf("the files of then are kept until checkpointctl repair: %w", err)
	}
	if stopped(now) != nil {
		return b.finish(context.Background())
	}
	if err := b.note.Undo(); err != nil {
		return fmt.Errorf("putting back the files of %s (checkpointctl repair tries again): %w", b.note.Container, err)
	}
	return b.Store.ForgetRollback(b.of)
}

// finish removes what was there, or keeps it as tars if the user wants that.
func (b *rolled) finish(ctx context.Context) error {
	if b == nil {
		return nil
	}
	if b.KeepChanged != "" {
		if err := b.keep(ctx); err != nil {
			b.warn(fmt.Sprintf("what was there could not be kept as tars, and stays where it is, in %s: %v", strings.Join(b.setAside(), ", "), err))
			return b.Store.ForgetRollback(b.of)
		}
	}
	b.note.Done = true
	err := b.Store.NoteRollback(b.of, b.note)
	if err == nil {
		err = b.note.Finish()
	}
	if err == nil {
		err = b.Store.ForgetRollback(b.of)
	}
	if err != nil {
		b.warn(fmt.Sprintf("the files that were there before could not be removed (checkpointctl repair tries again): %v", err))
	}
	return nil
}

// keep writes what was there as tars.
func (b *rolled) keep(ctx context.Context) error {
	if err := os.MkdirAll(b.KeepChanged, 0o700); err != nil {
		return err
	}
	for i, f := range b.fills {
		if err := keepTree(ctx, b.note.Trees[i].Other, f, b.KeepChanged); err != nil {
			return err
		}
	}
	return nil
}

// setAside gives what was there names that no later rollback takes.
func (b *rolled) setAside() (names []string) {
	for _, t := range b.note.Trees {
		name := fmt.Sprint(t.Other, "-", b.note.Began.Unix())
		if os.Rename(t.Other, name) != nil {
			name = t.Other
		}
		names = append(names, name)
	}
	return names
}

func keepTree(ctx context.Context, top string, f fill, dir string) error {
	capture, err := layer.New(top, f.kind(), nil, filepath.Join(dir, ".copy"))
	if err != nil {
		return err
	}
	defer func() { _ = capture.Remove() }()
	if err := capture.Finish(ctx, nil); err != nil {
		return err
	}
	out, err := os.OpenFile(filepath.Join(dir, f.part.File), os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	_, err = capture.WriteTo(ctx, out)
	return errors.Join(err, out.Sync(), out.Close())
}

// openPlain opens a file of a checkpoint that is not encrypted.
func openPlain(dir string) func(string) (io.ReadCloser, error) {
	return func(name string) (io.ReadCloser, error) {
		root, err := os.OpenRoot(dir)
		if err != nil {
			return nil, err
		}
		defer root.Close()
		return root.Open(name)
	}
}
