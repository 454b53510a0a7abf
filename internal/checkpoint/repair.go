package checkpoint

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/checkpointctl/checkpointctl/internal/criu"
	"github.com/checkpointctl/checkpointctl/internal/docker"
	"github.com/checkpointctl/checkpointctl/internal/metadata"
	"github.com/checkpointctl/checkpointctl/internal/runtime"
)

// What becomes of a leftover.
const (
	Remove  = "remove"  // it is worth nothing
	Publish = "publish" // a whole checkpoint of a container that was killed for it
	Undo    = "undo"    // in the container, or on the host
	Leave   = "leave"   // for the user, or for a run that is still at work
)

// Leftover is something that a run which was killed left behind.
type Leftover struct {
	What      string `json:"what"`
	Container string `json:"container"`
	Path      string `json:"path"`
	Action    string `json:"action"`
	undo      func(context.Context) error
}

type mender interface {
	Residue(context.Context, string) ([]docker.Leftover, error)
	pausing
}

// Repairer finds what killed runs left, and undoes it. Locks tell them from
// runs that are alive.
type Repairer struct {
	Docker mender
	Store  metadata.Store
}

// All finds, and unless dryRun undoes, what was left of any container. An
// error is joined from all that could not be looked at or undone.
func (r *Repairer) All(ctx context.Context, dryRun bool) ([]Leftover, error) {
	var (
		list []Leftover
		errs []error
	)
	for _, name := range r.Store.Containers() {
		found, err := r.one(ctx, name, dryRun)
		list = append(list, found...)
		errs = append(errs, err)
	}
	found := restores("")
	list = append(list, found...)
	if !dryRun {
		errs = append(errs, undoAll(ctx, found))
	}
	return list, errors.Join(errs...)
}

// Container does the same for one, before something else is done with it.
func (r *Repairer) Container(ctx context.Context, c docker.Container) ([]Leftover, error) {
	list, err := r.one(ctx, c.Name, false)
	found := restores(c.ID)
	return append(list, found...), errors.Join(err, undoAll(ctx, found))
}

// restores finds restores that nobody is at work on any more, of one container or
// of all.
func restores(id string) []Leftover {
	var list []Leftover
	for _, a := range runtime.FindAbandoned(id) {
		list = append(list, Leftover{What: "restore that was killed", Container: a.ID, Path: a.Dir, Action: Remove, undo: func(context.Context) error { return a.Recover() }})
	}
	for _, dir := range runtime.FindStateless(id) {
		list = append(list, Leftover{What: "runc's directory of a start that was killed", Path: dir, Action: Remove, undo: func(context.Context) error { return runtime.RemoveStateless(dir) }})
	}
	return list
}

func (r *Repairer) one(ctx context.Context, name string, dryRun bool) ([]Leftover, error) {
	if _, err := os.Stat(filepath.Join(r.Store.Dir, name)); errors.Is(err, os.ErrNotExist) {
		return nil, nil // and none is made for the lock
	}
	unlock, err := r.Store.Lock(name)
	if errors.Is(err, metadata.ErrLocked) {
		return []Leftover{{What: "another run is at work", Container: name, Action: Leave}}, nil
	}
	if err != nil {
		return nil, err
	}
	defer unlock()
	paused := r.paused(name)
	if !dryRun {
		err = undoAll(ctx, paused) // what else is in a container shows when it runs
	}
	found, findErr := r.Docker.Residue(ctx, name)
	switch {
	case errors.Is(findErr, docker.ErrNoSuchContainer):
		findErr = nil
	case errors.Is(findErr, docker.ErrBusy):
		return append(paused, Leftover{What: "a CRIU or a debugger is at work", Container: name, Action: Leave}), err
	}
	list := append(residue(name, found), inStore(r.Store, name)...)
	err = errors.Join(err, findErr)
	if !dryRun {
		err = errors.Join(err, undoAll(ctx, list))
	}
	return append(paused, list...), err
}

// paused finds the note of a run that had the container paused.
func (r *Repairer) paused(name string) []Leftover {
	id := r.Store.PausedBy(name)
	if id == "" {
		return nil
	}
	return []Leftover{{What: "paused for a checkpoint", Container: name, Action: Undo, undo: func(ctx context.Context) error {
		if err := unpause(ctx, r.Docker, name, id); err != nil {
			return err
		}
		return r.Store.NoteUnpaused(name)
	}}}
}

func residue(container string, found []docker.Leftover) []Leftover {
	var list []Leftover
	for _, l := range found {
		list = append(list, Leftover{What: l.What, Container: container, Path: l.Path, Action: Undo, undo: l.Undo})
	}
	return list
}

// inStore finds hidden directories. The caller holds the container's lock.
func inStore(store metadata.Store, container string) []Leftover {
	var list []Leftover
	for _, l := range store.Leftovers(container) {
		out := Leftover{What: "incomplete checkpoint", Container: container, Path: l.Path, Action: Remove, undo: func(context.Context) error {
			return os.RemoveAll(l.Path)
		}}
		switch {
		case l.Record != nil:
			out.What, out.Action = "whole checkpoint", Publish
			out.undo = func(context.Context) error {
				l.Record.Stats = metadata.Stats(criu.ReadStats(l.Path))
				_, err := store.Adopt(l)
				return err
			}
		case l.Only:
			out.What, out.Action = "images kept of a killed container", Leave
		}
		list = append(list, out)
	}
	return list
}

func undoAll(ctx context.Context, list []Leftover) error {
	var errs []error
	for _, l := range list {
		if l.undo == nil || l.Action == Leave {
			continue
		}
		if err := l.undo(ctx); err != nil {
			errs = append(errs, fmt.Errorf("%s of %s is not undone: %w", l.What, l.Container, err))
		}
	}
	return errors.Join(errs...)
}
