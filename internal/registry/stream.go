package registry

import (
	"context"
	"errors"
	"io"

	v1 "github.com/opencontainers/image-spec/specs-go/v1"
	"oras.land/oras-go/v2/content"

	"github.com/checkpointctl/checkpointctl/internal/archive"
	"github.com/checkpointctl/checkpointctl/internal/metadata"
)

// stream takes the layers into the store as they come, one after the other, and keeps
// none of them: they are not encrypted, and what the store has shall be. The next pull
// begins anew after an error.
func (r *Remote) stream(ctx context.Context, i archive.Import, layers []v1.Descriptor, fetched func(done, total int64)) (metadata.Record, error) {
	m := &meter{report: fetched}
	for _, l := range layers {
		m.total += l.Size
	}
	var (
		last *steady
		n    int
		lost error // of the registry, which is not the archive's fault
	)
	rec, err := i.ReadPieces(ctx, func() (io.ReadCloser, error) {
		if n == len(layers) {
			return nil, io.EOF
		}
		l := layers[n]
		n++
		if last, lost = r.open(ctx, l, m); lost != nil {
			return nil, lost
		}
		return &verified{content.NewVerifyReader(last, l), last.in}, nil
	})
	switch {
	case lost != nil:
		return rec, lost
	case last != nil && last.failed != nil:
		return rec, r.failed(last.failed)
	}
	return rec, err
}

// verified is a layer whose digest is compared when all of it was read.
type verified struct {
	*content.VerifyReader
	io.Closer
}

func (v *verified) Read(p []byte) (int, error) {
	n, err := v.VerifyReader.Read(p)
	if errors.Is(err, io.EOF) {
		if wrong := v.Verify(); wrong != nil {
			return n, wrong
		}
	}
	return n, err
}
