package recovery

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/checkpointctl/checkpointctl/internal/docker"
	"github.com/checkpointctl/checkpointctl/internal/layer"
	"github.com/checkpointctl/checkpointctl/internal/runtime"
)

// rolledBack finds the note of a run that was replacing files of a container. If the
// container has started since, it goes on with the new ones; otherwise those that
// were there come back.
func (r *Recoverer) rolledBack(_ context.Context, c container) ([]Finding, error) {
	var b layer.Rollback
	there, err := r.store.Rollback(c.name, &b)
	if err != nil || !there {
		return nil, err
	}
	f := Finding{What: "rollback of files to " + b.Checkpoint, Action: Undo, do: func(ctx context.Context) error { return r.endRollback(ctx, c, b) }}
	if len(b.Trees) > 0 {
		f.Path = b.Trees[0].Other
	}
	if b.Done {
		f.What, f.Action = "files that were there before a rollback to "+b.Checkpoint, Remove
	}
	return []Finding{f}, nil
}

func (r *Recoverer) endRollback(ctx context.Context, c container, b layer.Rollback) error {
	// The restore that it was for may still be at work on these files.
	for _, a := range runtime.FindAbandoned(b.ID) {
		if err := a.Recover(); err != nil {
			return err
		}
	}
	if runtime.ControlOf(b.ID).AgentAlive() {
		return fmt.Errorf("container %s is still being restored: %w", b.Container, runtime.ErrBusy)
	}
	now, err := r.docker.Inspect(ctx, b.ID)
	if err != nil && !errors.Is(err, docker.ErrNoSuchContainer) {
		return err
	}
	if b.Done || now.PID != 0 || now.StartedAt.After(b.Began) {
		err = b.Finish()
	} else {
		err = released(ctx, b)
		if err == nil {
			err = b.Undo()
		}
	}
	return errors.Join(err, forget(err, func() error { return r.store.ForgetRollback(c.name) }))
}

// released waits until no start that Docker gives up has the files mounted.
func released(ctx context.Context, b layer.Rollback) error {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	for _, t := range b.Trees {
		for {
			used, err := layer.InUse(t.Live)
			if err != nil || !used {
				break
			}
			select {
			case <-ctx.Done():
				return fmt.Errorf("%s is mounted", t.Live)
			case <-time.After(50 * time.Millisecond):
			}
		}
	}
	return nil
}

func forget(failed error, f func() error) error {
	if failed != nil {
		return nil
	}
	return f()
}
