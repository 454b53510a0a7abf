package restore

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"

	"github.com/checkpointctl/checkpointctl/internal/criu"
	"github.com/checkpointctl/checkpointctl/internal/criuimg"
	"github.com/checkpointctl/checkpointctl/internal/docker"
	"github.com/checkpointctl/checkpointctl/internal/metadata"
	"github.com/checkpointctl/checkpointctl/internal/runtime"
)

// ErrNotLazy is a checkpoint whose memory has to be there before the container
// runs.
var ErrNotLazy = errors.New("cannot restore with lazy pages")

// lazyPages says what is to be fetched while the container runs.
func (r *Restorer) lazyPages(ctx context.Context, c docker.Container, rec metadata.Record) (*runtime.Fetch, error) {
	no := func(why string) (*runtime.Fetch, error) {
		return nil, fmt.Errorf("%w: %s/%s %s", ErrNotLazy, rec.Name, rec.Checkpoint, why)
	}
	switch {
	case rec.Encrypted:
		return no("is encrypted, and unencrypted images would have to stay for as long as the fetch takes")
	case rec.Parent != "":
		return no("continues " + rec.Parent + ", and criu lazy-pages does not fetch what lies in a parent")
	case rec.PreDump != nil && len(rec.PreDump.Rounds) > 0:
		return no("has pre-dump rounds, and criu lazy-pages does not fetch what lies in them")
	}
	if !r.canBeLazy {
		if err := (&criu.Dumper{Path: r.CRIU}).Userfaultfd(ctx); err != nil {
			return nil, err
		}
	}
	dir, err := filepath.Abs(r.Store.Path(rec.Name, rec.Checkpoint))
	if err != nil {
		return nil, err
	}
	total, err := criuimg.LazyBytes(criuimg.Dir(dir))
	if err != nil {
		return nil, fmt.Errorf("%w: %s/%s: %w", metadata.ErrDamaged, rec.Name, rec.Checkpoint, err)
	}
	return &runtime.Fetch{Container: c.Name, ID: c.ID, Checkpoint: rec.Name + "/" + rec.Checkpoint, ImageDir: dir, TotalBytes: total}, nil
}
