// Package recovery finds what runs that were killed left behind, and undoes it:
// before the next run on a container, after a dump that failed, and for the
// repair command. Locks tell what was left from what is in use.
package recovery

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"

	"github.com/checkpointctl/checkpointctl/internal/docker"
	"github.com/checkpointctl/checkpointctl/internal/metadata"
	"github.com/checkpointctl/checkpointctl/internal/runtime"
)

// What becomes of a finding.
const (
	Remove  = "remove"  // it is worth nothing
	Publish = "publish" // a whole checkpoint of a container that was killed for it
	Undo    = "undo"    // in the container, or on the host
	Leave   = "leave"   // for the user, or for a run that is still at work
)

// ErrBusy is a container that a CRIU works on, maybe that of a killed run.
var ErrBusy = errors.New("its tasks are traced: a CRIU is still at work, or a debugger")

// Finding is something that a run which was killed left behind.
type Finding struct {
	What      string `json:"what"`
	Container string `json:"container"` // its name in the store, its ID, or empty
	Path      string `json:"path"`      // empty when it is nothing in the filesystem
	Action    string `json:"action"`
	do        func(context.Context) error
}

// Recover does what Action says. Nothing is done for what is to be left.
func (f Finding) Recover(ctx context.Context) error {
	if f.Action == Leave {
		return nil
	}
	if err := f.do(ctx); err != nil {
		return fmt.Errorf("cannot %s %s: %w", f.Action, f, err)
	}
	return nil
}

// String says what it is and of which container.
func (f Finding) String() string {
	if f.Container == "" {
		return f.What
	}
	return f.What + " of " + f.Container
}

// A source looks in one place for what was left of a container, or of any for
// the zero container.
type source func(context.Context, container) ([]Finding, error)

// container is one that sources are asked about.
type container struct {
	name string // in the store
	id   string // empty if it is not known
}

type engine interface {
	Inspect(context.Context, string) (docker.Container, error)
	Unpause(context.Context, string) error
	Remove(ctx context.Context, id string) error
	RemoveVolume(ctx context.Context, name string) error
}

// Recoverer asks all sources.
type Recoverer struct {
	// Recovered, if set, hears of each finding that was recovered.
	Recovered func(Finding)
	// Fetching, if set, is called when a dump has to wait for the container's
	// memory.
	Fetching func(runtime.Fetch)

	store    metadata.Store
	stageDir string
	docker   engine
	// inside finds what was left in a running container, and returns ErrBusy
	// while that may be in use.
	inside source
	host   []source
}

// New returns a Recoverer for one Docker and one store, and for unencrypted
// images in stageDir, or in the usual places if it is empty.
func New(d engine, s metadata.Store, stageDir string) *Recoverer {
	r := &Recoverer{store: s, stageDir: stageDir, docker: d}
	r.inside = r.inContainer
	r.host = []source{killedRestores, killedStarts, lostFetches, r.heldClients, r.stages, r.transfers}
	return r
}

// All returns what was left of any container, and recovers it unless dryRun.
// The error is joined from all that could not be looked at or recovered.
func (r *Recoverer) All(ctx context.Context, dryRun bool) ([]Finding, error) {
	var (
		list []Finding
		errs []error
	)
	for _, name := range r.store.Containers() {
		found, err := r.one(ctx, container{name: name}, dryRun)
		list, errs = append(list, found...), append(errs, err)
	}
	found, err := r.ask(ctx, container{}, dryRun, r.host...)
	return append(list, found...), errors.Join(append(errs, err)...)
}

// Container recovers what was left of one, before something else is done with
// it.
func (r *Recoverer) Container(ctx context.Context, c docker.Container) error {
	of := container{name: c.Name, id: c.ID}
	_, err := r.one(ctx, of, false)
	_, hostErr := r.ask(ctx, of, false, r.host...)
	return errors.Join(err, hostErr)
}

// Stored recovers what was left of a container under its name in the store; the
// container may be gone.
func (r *Recoverer) Stored(ctx context.Context, name string) error {
	_, err := r.one(ctx, container{name: name}, false)
	return err
}

// BeforeDump does what Container does, for a caller that holds the container's lock, if
// there is something in the store. It returns ErrBusy while a CRIU is at work.
// Memory that is still being fetched is waited for; if it never comes the error
// is a *docker.StateError.
func (r *Recoverer) BeforeDump(ctx context.Context, c docker.Container) error {
	if err := r.awaitMemory(ctx, c); err != nil {
		return err
	}
	of := container{name: c.Name, id: c.ID}
	found, err := r.inStore(ctx, of)
	rolled, rolledErr := r.rolledBack(ctx, of)
	found, err = append(found, rolled...), errors.Join(err, rolledErr)
	left := r.store.FrozenBy(c.Name).ID != "" || slices.ContainsFunc(found, func(f Finding) bool { return f.Action != Leave })
	if err != nil || !left {
		return err
	}
	_, err = r.ask(ctx, of, false, r.sources()...)
	return err
}

// AfterDump recovers, and returns, what a CRIU that has ended left in the running
// container. The error is ErrBusy, or of what could not be recovered.
func (r *Recoverer) AfterDump(ctx context.Context, c docker.Container) ([]Finding, error) {
	found, err := r.inside(ctx, container{name: c.Name, id: c.ID})
	errs := []error{err}
	for i := range found {
		found[i].Container = c.Name
		errs = append(errs, found[i].Recover(ctx))
	}
	return found, errors.Join(errs...)
}

// sources are those that need the container's lock. What else is in a paused
// container shows when it runs; the store is last, since what is there may be in
// use while the container is busy.
func (r *Recoverer) sources() []source {
	return []source{r.paused, r.inside, r.frozen, r.rolledBack, r.made, r.inStore}
}

func (r *Recoverer) one(ctx context.Context, c container, dryRun bool) ([]Finding, error) {
	if _, err := os.Stat(filepath.Join(r.store.Dir, c.name)); errors.Is(err, os.ErrNotExist) {
		return nil, nil // and none is made for the lock
	}
	unlock, err := r.store.Lock(c.name)
	if errors.Is(err, metadata.ErrLocked) {
		return []Finding{{What: "another run is at work", Container: c.name, Action: Leave}}, nil
	}
	if err != nil {
		return nil, err
	}
	defer unlock()
	list, err := r.ask(ctx, c, dryRun, r.sources()...)
	if errors.Is(err, ErrBusy) { // and nothing else: it runs, so it is not paused
		return append(list, Finding{What: "a CRIU or a debugger is at work", Container: c.name, Action: Leave}), nil
	}
	return list, err
}

// ask asks one source after the other and, unless dryRun, recovers what one
// finds before it asks the next. It ends at ErrBusy.
func (r *Recoverer) ask(ctx context.Context, c container, dryRun bool, sources ...source) ([]Finding, error) {
	var (
		list []Finding
		errs []error
	)
	for _, find := range sources {
		found, err := find(ctx, c)
		errs = append(errs, err)
		if errors.Is(err, ErrBusy) {
			break
		}
		for _, f := range found {
			if c.name != "" {
				f.Container = c.name
			}
			list = append(list, f)
			if dryRun || f.Action == Leave {
				continue
			}
			err := f.Recover(ctx)
			errs = append(errs, err)
			if err == nil && r.Recovered != nil {
				r.Recovered(f)
			}
		}
	}
	return list, errors.Join(errs...)
}
