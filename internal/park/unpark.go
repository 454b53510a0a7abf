package park

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/checkpointctl/checkpointctl/internal/docker"
	"github.com/checkpointctl/checkpointctl/internal/metadata"
	"github.com/checkpointctl/checkpointctl/internal/restore"
)

// ErrStartedAfresh is a container that could not be restored, and was started without
// its checkpoint. The checkpoint is kept.
var ErrStartedAfresh = errors.New("started afresh, without its checkpoint")

// Unpark restores all parked containers, in the order that was noted. One that cannot be
// restored is started afresh, with an error that is ErrStartedAfresh. One that runs
// already is left alone, also with an error. All get their restart policies back and are
// no longer parked, but those that could not be started at all. When ctx ends, what was
// not begun stays parked.
func (p *Parker) Unpark(ctx context.Context) ([]Outcome, error) {
	notes, err := p.Store.AllParked()
	slices.SortStableFunc(notes, func(a, b metadata.Parked) int { return cmp.Compare(a.Order, b.Order) })
	var list []Outcome
	for len(notes) > 0 {
		n := 1
		for n < len(notes) && notes[n].Order == notes[0].Order && notes[n].Checkpoint == notes[0].Checkpoint {
			n++
		}
		if ctx.Err() != nil {
			return list, errors.Join(err, ctx.Err())
		}
		began := time.Now()
		for _, o := range p.unparkUnit(ctx, notes[:n]) {
			o.Took = time.Since(began)
			list = append(list, o)
		}
		notes = notes[n:]
	}
	return list, err
}

// unparkUnit restores the containers of a unit that are still stopped.
func (p *Parker) unparkUnit(ctx context.Context, notes []metadata.Parked) []Outcome {
	list := make([]Outcome, len(notes))
	members := make([]restore.Member, len(notes))
	var whole error // why the unit cannot be restored
	for i, n := range notes {
		list[i].Container = n.Name
		c, err := p.Docker.Inspect(ctx, n.ID)
		if err == nil && c.State == "running" {
			err = &docker.StateError{Name: n.Name, Is: "was started meanwhile and is left as it is", Hint: "its checkpoint " + n.Name + "/" + n.Checkpoint + " is kept"}
		}
		list[i].Err = err
		if err != nil {
			whole = cmp.Or(whole, fmt.Errorf("%s, which it shares namespaces with: %w", n.Name, err))
			continue
		}
		members[i].Container = c
		if members[i].Record, err = p.Store.Get(n.Name, n.Checkpoint); err != nil {
			whole = cmp.Or(whole, err)
		}
	}
	if whole == nil {
		whole = p.Restore(ctx, members)
	}
	ctx = context.WithoutCancel(ctx)
	for i, n := range notes {
		switch {
		case list[i].Err != nil: // it is gone, runs, or Docker does not answer
		case whole == nil:
			list[i].Checkpoint = n.Checkpoint
		default:
			list[i].Err = p.startAfresh(ctx, n, whole)
		}
		if errors.Is(list[i].Err, docker.ErrUnreachable) || errors.Is(list[i].Err, errNotStarted) {
			continue // for the next unpark
		}
		list[i].Err = errors.Join(list[i].Err, p.release(ctx, []metadata.Parked{n}))
	}
	return list
}

var errNotStarted = errors.New("it could not be started, either")

// startAfresh starts a container that was not restored. It returns an error always.
func (p *Parker) startAfresh(ctx context.Context, n metadata.Parked, why error) error {
	err := p.Docker.Start(ctx, n.ID)
	if err != nil && !errors.Is(err, docker.ErrRunning) {
		return fmt.Errorf("container %s is not restored: %w; %w and stays parked: %w", n.Name, why, errNotStarted, err)
	}
	return fmt.Errorf("container %s: %w: %w", n.Name, ErrStartedAfresh, why)
}
