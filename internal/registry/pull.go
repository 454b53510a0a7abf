package registry

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/opencontainers/go-digest"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"
	"golang.org/x/sync/errgroup"
	"oras.land/oras-go/v2/content"
	"oras.land/oras-go/v2/content/oci"
	"oras.land/oras-go/v2/errdef"

	"github.com/checkpointctl/checkpointctl/internal/archive"
	"github.com/checkpointctl/checkpointctl/internal/metadata"
)

// Pull fetches a checkpoint and takes it into the store, as import does an archive:
// archive.ErrRefused says what is not taken. Layers are kept below the store until
// then, also after an error of the registry: the next pull fetches those that are
// missing. fetched, if set, hears of their bytes.
func (r *Remote) Pull(ctx context.Context, i archive.Import, fetched func(done, total int64)) (metadata.Record, error) {
	t, err := i.Store.Transfer("pull " + r.Reference)
	if err != nil {
		return metadata.Record{}, err
	}
	rec, err := r.pull(ctx, i, t.Dir, fetched)
	if err == nil || errors.Is(err, archive.ErrRefused) || errors.Is(err, ErrNotFound) {
		return rec, errors.Join(err, t.Remove())
	}
	return rec, errors.Join(err, t.Close())
}

func (r *Remote) pull(ctx context.Context, i archive.Import, dir string, fetched func(done, total int64)) (metadata.Record, error) {
	layers, err := r.manifest(ctx, i.MaxBytes)
	if err != nil {
		return metadata.Record{}, err
	}
	if i.Seal != nil && slices.ContainsFunc(layers, func(l v1.Descriptor) bool { return l.MediaType == layerType }) {
		return r.stream(ctx, i, layers, fetched)
	}
	stage, err := oci.NewStorage(dir)
	if err != nil {
		return metadata.Record{}, err
	}
	if err := os.RemoveAll(filepath.Join(dir, "ingest")); err != nil { // halves of a run that was killed
		return metadata.Record{}, err
	}
	if err := r.fetch(ctx, stage, layers, fetched); err != nil {
		return metadata.Record{}, err
	}
	n := 0
	return i.ReadPieces(ctx, func() (io.ReadCloser, error) {
		if n == len(layers) {
			return nil, io.EOF
		}
		n++
		return stage.Fetch(ctx, layers[n-1])
	})
}

// manifest returns the layers of the checkpoint.
func (r *Remote) manifest(ctx context.Context, most int64) ([]v1.Descriptor, error) {
	d, in, err := r.repo.Manifests().FetchReference(ctx, r.tag)
	if err != nil {
		return nil, r.failed(err)
	}
	defer in.Close()
	if d.Size > maxManifest {
		return nil, refused("its manifest has %d bytes, at most %d are taken", d.Size, maxManifest)
	}
	data, err := content.ReadAll(in, d)
	if err != nil {
		return nil, r.failed(err)
	}
	layers, err := layersOf(d.MediaType, data, most)
	if err != nil {
		return nil, refused("%w", err)
	}
	return layers, nil
}

func refused(format string, args ...any) error {
	return fmt.Errorf("%w: %w", archive.ErrRefused, fmt.Errorf(format, args...))
}

// fetch fetches the layers that are not there yet, each once, some at a time.
func (r *Remote) fetch(ctx context.Context, stage *oci.Storage, layers []v1.Descriptor, fetched func(done, total int64)) error {
	var once []v1.Descriptor
	seen, total := map[digest.Digest]bool{}, int64(0)
	for _, l := range layers {
		if !seen[l.Digest] {
			seen[l.Digest] = true
			once, total = append(once, l), total+l.Size
		}
	}
	m := &meter{total: total, report: fetched}
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(3) // as Docker does
	for _, l := range once {
		g.Go(func() error { return r.layer(ctx, stage, l, m) })
	}
	return g.Wait()
}

// meter adds up what several fetch.
type meter struct {
	mu          sync.Mutex
	done, total int64
	report      func(done, total int64)
}

func (m *meter) add(n int64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.done += n; m.report != nil {
		m.report(m.done, m.total)
	}
}

// layer fetches one. What differs from its digest does not become a file.
func (r *Remote) layer(ctx context.Context, stage *oci.Storage, l v1.Descriptor, m *meter) error {
	there, err := stage.Exists(ctx, l)
	if err != nil {
		return err
	}
	if there {
		m.add(l.Size)
		return nil
	}
	s, err := r.open(ctx, l, m)
	if err != nil {
		return err
	}
	defer func() { _ = s.in.Close() }()
	err = stage.Push(ctx, l, s)
	switch {
	case s.failed != nil:
		return r.failed(s.failed)
	case errors.Is(err, content.ErrMismatchedDigest), errors.Is(err, content.ErrTrailingData), errors.Is(err, io.ErrUnexpectedEOF):
		return refused("layer %s: %w", l.Digest, err)
	}
	return err
}

// open begins to fetch a layer.
func (r *Remote) open(ctx context.Context, l v1.Descriptor, m *meter) (*steady, error) {
	open := func() (io.ReadCloser, error) { return r.repo.Blobs().Fetch(ctx, l) }
	in, err := open()
	if errors.Is(err, errdef.ErrNotFound) {
		return nil, refused("the registry does not have its layer %s", l.Digest)
	}
	if err != nil {
		return nil, r.failed(err)
	}
	return &steady{in: in, open: open, ctx: ctx, meter: m}, nil
}

// steady goes on where a connection ended, by a new one.
type steady struct {
	in     io.ReadCloser
	open   func() (io.ReadCloser, error)
	ctx    context.Context
	meter  *meter
	at     int64
	tried  int   // since something came
	failed error // of the registry, not of the disk
}

func (s *steady) Read(p []byte) (int, error) {
	for {
		n, err := s.in.Read(p)
		if n > 0 {
			s.at, s.tried = s.at+int64(n), 0
			s.meter.add(int64(n))
			return n, nil
		}
		if err == nil || errors.Is(err, io.EOF) {
			return 0, err
		}
		for err != nil {
			if s.tried++; s.tried == tries || s.ctx.Err() != nil {
				s.failed = errors.Join(s.ctx.Err(), err)
				return 0, s.failed
			}
			select {
			case <-s.ctx.Done():
			case <-time.After(time.Second << (s.tried - 1)):
				err = s.again()
			}
		}
	}
}

func (s *steady) again() error {
	in, err := s.open()
	if err != nil {
		return err
	}
	_ = s.in.Close()
	s.in = in
	if seeker, ok := in.(io.Seeker); ok { // the registry can begin in the middle
		_, err = seeker.Seek(s.at, io.SeekStart)
	} else {
		_, err = io.CopyN(io.Discard, in, s.at)
	}
	return err
}
