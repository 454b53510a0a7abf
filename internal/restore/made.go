package restore

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/checkpointctl/checkpointctl/internal/docker"
	"github.com/checkpointctl/checkpointctl/internal/metadata"
)

// made is a container that was made, and what goes with it if it fails.
type made struct {
	docker.Container
	volumes []string // that were made for it
}

// make creates the container, and notes it in the store. After an error nothing is
// left.
func (m *Maker) make(ctx context.Context, d docker.Draft, from source) (made, error) {
	var made made
	for destination, name := range d.Volumes {
		has, err := m.Engine.HasVolume(ctx, name)
		if err != nil {
			return made, err
		}
		if !has || hasVolume(from.Record, destination) {
			made.volumes = append(made.volumes, name)
		}
	}
	note := metadata.Made{Name: d.Name, Began: time.Now(), Volumes: made.volumes}
	if err := m.Store.NoteMade(from.Name, note); err != nil {
		return made, err
	}
	// Docker makes it whether or not somebody waits.
	id, warnings, err := m.Engine.Create(context.WithoutCancel(ctx), d)
	made.ID, made.Name = id, d.Name
	if err != nil && id == "" {
		return made, errors.Join(err, m.Store.ForgetMade(from.Name))
	}
	note.ID = id
	err = errors.Join(err, m.Store.NoteMade(from.Name, note))
	if err == nil {
		for _, w := range warnings {
			m.warn("docker: " + w)
		}
		made.Container, err = m.Engine.Inspect(ctx, id)
	}
	if err != nil {
		made.ID, made.Name = id, d.Name
		return made, errors.Join(made.undo(ctx, m.Engine, err), m.Store.ForgetMade(from.Name))
	}
	return made, nil
}

// undo removes what was made, and adds to the error if that fails.
func (m made) undo(ctx context.Context, engine maker, cause error) error {
	ctx = context.WithoutCancel(ctx)
	err := engine.Remove(ctx, m.ID)
	if errors.Is(err, docker.ErrNoSuchContainer) {
		err = nil // --rm
	}
	if err != nil {
		return errors.Join(cause, fmt.Errorf("container %s was created and could not be removed: %w", m.Name, err))
	}
	for _, name := range m.volumes {
		if has, err := engine.HasVolume(ctx, name); err == nil && !has {
			continue
		}
		if err := engine.RemoveVolume(ctx, name); err != nil {
			cause = errors.Join(cause, fmt.Errorf("volume %s was created and could not be removed: %w", name, err))
		}
	}
	return fmt.Errorf("%w; %s, which was created for it, is removed", cause, m.Name)
}
