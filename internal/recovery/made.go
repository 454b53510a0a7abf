package recovery

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/checkpointctl/checkpointctl/internal/docker"
	"github.com/checkpointctl/checkpointctl/internal/metadata"
	"github.com/checkpointctl/checkpointctl/internal/runtime"
)

// made finds the note of a run that was making a container from a checkpoint. If it
// has started, it stays; otherwise it goes, and its volumes.
func (r *Recoverer) made(_ context.Context, c container) ([]Finding, error) {
	note, there, err := r.store.Made(c.name)
	if err != nil || !there {
		return nil, err
	}
	return []Finding{{What: "making of " + note.Name + " from a checkpoint", Action: Undo, do: func(ctx context.Context) error {
		if err := r.unmake(ctx, note); err != nil {
			return err
		}
		return r.store.ForgetMade(c.name)
	}}}, nil
}

// createLimit is what Docker takes at most to make a container.
const createLimit = 2 * time.Minute

func (r *Recoverer) unmake(ctx context.Context, note metadata.Made) error {
	now, err := r.docker.Inspect(ctx, cmp.Or(note.ID, note.Name))
	if errors.Is(err, docker.ErrNoSuchContainer) {
		return r.removeVolumes(ctx, note.Volumes)
	}
	if err != nil {
		return err
	}
	for _, a := range runtime.FindAbandoned(now.ID) {
		if err := a.Recover(); err != nil {
			return err
		}
	}
	if runtime.ControlOf(now.ID).AgentAlive() {
		return fmt.Errorf("container %s is still being restored: %w", note.Name, runtime.ErrBusy)
	}
	// Without an ID it is known by its name alone: somebody else could have made it.
	other := note.ID == "" && (now.CreatedAt.Before(note.Began) || now.CreatedAt.After(note.Began.Add(createLimit)))
	if other || now.PID != 0 || now.StartedAt.After(note.Began) {
		return nil
	}
	if err := r.docker.Remove(ctx, now.ID); err != nil && !errors.Is(err, docker.ErrNoSuchContainer) {
		return err
	}
	return r.removeVolumes(ctx, note.Volumes)
}

// removeVolumes removes those that no container mounts.
func (r *Recoverer) removeVolumes(ctx context.Context, names []string) error {
	for _, name := range names {
		if err := r.docker.RemoveVolume(ctx, name); err != nil && !errors.Is(err, docker.ErrNoSuchContainer) {
			return err
		}
	}
	return nil
}
