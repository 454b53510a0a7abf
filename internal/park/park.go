// Package park stops containers by checkpoints so that they go on later, as after a
// reboot of the host.
package park

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/checkpointctl/checkpointctl/internal/docker"
	"github.com/checkpointctl/checkpointctl/internal/metadata"
	"github.com/checkpointctl/checkpointctl/internal/restore"
)

type engine interface {
	Inspect(context.Context, string) (docker.Container, error)
	SetRestartPolicy(ctx context.Context, id, policy string, maxRetries int) error
	Start(context.Context, string) error
}

// Parker parks containers and brings them back.
type Parker struct {
	Docker engine
	Store  metadata.Store
	// Checkpoint checkpoints and stops containers, all or none, under a name.
	Checkpoint func(ctx context.Context, containers Unit, name string) error
	// Restore restores stopped containers, all or none.
	Restore func(context.Context, []restore.Member) error
	// Warn hears of what does not stop it.
	Warn func(string)
}

// Outcome is what became of a container.
type Outcome struct {
	Container  string
	Checkpoint string // empty if it is not parked, or was not restored
	Took       time.Duration
	Err        error
}

// whileParked is the restart policy of a parked container. dockerd starts containers
// with always and on-failure when it starts, even if they were stopped on purpose; see
// ShouldRestart in moby's restartmanager.
const whileParked = "unless-stopped"

// Park checkpoints and stops the units, the last first, and notes where they are to be
// restored. Containers of a unit that cannot be checkpointed run on, with an error; the
// others are parked all the same. It begins no further unit when ctx ends.
func (p *Parker) Park(ctx context.Context, units []Unit, name string) []Outcome {
	var list []Outcome
	for i, u := range slices.Backward(units) {
		began, err := time.Now(), ctx.Err()
		if err == nil {
			err = p.parkUnit(ctx, u, i, name)
		}
		for _, c := range u {
			o := Outcome{Container: c.Name, Checkpoint: name, Took: time.Since(began), Err: err}
			if err != nil {
				o.Checkpoint = ""
			}
			list = append(list, o)
		}
	}
	return list
}

func (p *Parker) parkUnit(ctx context.Context, u Unit, order int, name string) (err error) {
	var noted []metadata.Parked
	defer func() {
		if err != nil { // they run, or Docker is to treat them as any other
			err = errors.Join(err, p.release(context.WithoutCancel(ctx), noted))
		}
	}()
	for _, c := range u {
		note := metadata.Parked{Name: c.Name, ID: c.ID, Checkpoint: name, Since: time.Now().UTC(), Order: order}
		if c.RestartPolicy == "always" || c.RestartPolicy == "on-failure" {
			note.RestartPolicy, note.MaxRetries = c.RestartPolicy, c.MaxRetries
		}
		// Somebody started a parked container: what the note keeps is still due.
		if old, there, err := p.Store.Parked(c.Name); err == nil && there && old.ID == c.ID && c.RestartPolicy == whileParked {
			note.RestartPolicy, note.MaxRetries = old.RestartPolicy, old.MaxRetries
		}
		if err := p.Store.NotePark(note); err != nil {
			return err
		}
		noted = append(noted, note)
		if note.RestartPolicy != "" {
			if err := p.Docker.SetRestartPolicy(ctx, c.ID, whileParked, 0); err != nil {
				return fmt.Errorf("container %s: its restart policy: %w", c.Name, err)
			}
		}
	}
	return p.Checkpoint(ctx, u, name)
}

// release gives containers their restart policies back and forgets that they are
// parked. What fails stays noted.
func (p *Parker) release(ctx context.Context, notes []metadata.Parked) error {
	var errs []error
	for _, n := range notes {
		var err error
		if n.RestartPolicy != "" {
			err = p.Docker.SetRestartPolicy(ctx, n.ID, n.RestartPolicy, n.MaxRetries)
		}
		if errors.Is(err, docker.ErrNoSuchContainer) {
			err = nil
		}
		if err != nil {
			err = fmt.Errorf("container %s has restart policy %s instead of %s: %w", n.Name, whileParked, n.RestartPolicy, err)
		} else {
			err = p.Store.ForgetPark(n.Name)
		}
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}
