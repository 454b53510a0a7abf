package recovery

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/checkpointctl/checkpointctl/internal/docker"
	"github.com/checkpointctl/checkpointctl/internal/layer"
)

// stoppedAt is a daemon whose container does not run; it ran last at that time.
type stoppedAt struct {
	daemon
	started time.Time
	gone    bool
}

func (d *stoppedAt) Inspect(context.Context, string) (docker.Container, error) {
	if d.gone {
		return docker.Container{}, docker.ErrNoSuchContainer
	}
	c := web
	c.State, c.StartedAt = "exited", d.started
	return c, nil
}

// A rollback that was killed ends with the old files, unless the container has
// started with the new ones since.
func TestRollbackLeft(t *testing.T) {
	began := time.Now()
	for name, test := range map[string]struct {
		change func(*layer.Rollback, *stoppedAt)
		want   string
		said   string
	}{
		"being made":     {func(b *layer.Rollback, _ *stoppedAt) { b.Swapping = false }, "old", "undo rollback of files to web/one of web"},
		"swapped":        {func(*layer.Rollback, *stoppedAt) {}, "old", "undo rollback of files to web/one of web"},
		"container gone": {func(_ *layer.Rollback, d *stoppedAt) { d.gone = true }, "old", "undo rollback of files to web/one of web"},
		"started since":  {func(_ *layer.Rollback, d *stoppedAt) { d.started = began.Add(time.Second) }, "new", "undo rollback of files to web/one of web"},
		"done": {func(b *layer.Rollback, _ *stoppedAt) { b.Done = true }, "new",
			"remove files that were there before a rollback to web/one of web"},
	} {
		d := &stoppedAt{started: began.Add(-time.Hour)}
		r, said := newRecoverer(t, &d.daemon, nothing)
		r.docker = d
		unlock, err := r.store.Lock("web")
		if err != nil {
			t.Fatal(err)
		}
		b := layer.Rollback{ID: web.ID, Container: "web", Checkpoint: "web/one", Began: began, Swapping: true}
		live := filepath.Join(t.TempDir(), "diff")
		b.Trees = []layer.Tree{layer.Beside(live)}
		must := func(errs ...error) {
			t.Helper()
			if err := errors.Join(errs...); err != nil {
				t.Fatal(err)
			}
		}
		must(os.MkdirAll(filepath.Join(live, "old"), 0o700), b.Trees[0].Make(), os.Mkdir(filepath.Join(b.Trees[0].Other, "new"), 0o700))
		test.change(&b, d)
		if b.Swapping {
			must(b.Trees[0].Swap())
		}
		must(r.store.NoteRollback("web", b))
		unlock()
		must(r.Container(context.Background(), web))
		found, err := os.ReadDir(live)
		if err != nil || len(found) != 1 || found[0].Name() != test.want || !gone(b.Trees[0].Other) {
			t.Errorf("%s: %v, %v", name, found, err)
		}
		if !slices.Equal(*said, []string{test.said}) {
			t.Errorf("%s: %q", name, *said)
		}
		if there, _ := r.store.Rollback("web", &b); there {
			t.Errorf("%s: the note is left", name)
		}
	}
}
