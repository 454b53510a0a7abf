package recovery

import (
	"context"
	"time"

	"github.com/checkpointctl/checkpointctl/internal/docker"
	"github.com/checkpointctl/checkpointctl/internal/runtime"
)

// awaitMemory waits until all memory of a container is there that was restored
// with lazy pages: a dump would silently lack the rest.
func (r *Recoverer) awaitMemory(ctx context.Context, c docker.Container) error {
	said := false
	for {
		f, ok := runtime.FindFetch(c.ID)
		if !ok || f.Init.PID != c.PID { // an earlier run's
			return nil
		}
		switch f.State() {
		case runtime.Over:
			return nil
		case runtime.Lost:
			return &docker.StateError{
				Name: c.Name, Is: "may lack memory: the fetch from " + f.Checkpoint + " was killed",
				Hint: "docker kill " + c.Name + ", and restore it again",
			}
		}
		if !said && r.Fetching != nil {
			r.Fetching(f)
		}
		said = true
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(50 * time.Millisecond):
		}
	}
}

// lostFetches finds what is known of lazy restores that ended before the memory
// was whole.
func lostFetches(_ context.Context, c container) ([]Finding, error) {
	list := runtime.Fetches()
	if c.id != "" {
		list = nil
		if f, ok := runtime.FindFetch(c.id); ok {
			list = []runtime.Fetch{f}
		}
	}
	var found []Finding
	for _, f := range list {
		if f.State() == runtime.Fetching {
			continue
		}
		finding := Finding{What: "note of a lazy restore that ended early", Container: f.Container, Path: f.Dir(), Action: Remove, do: func(context.Context) error { return f.Forget() }}
		if f.Init.Alive() {
			finding.What, finding.Action = "lazy restore that was killed: memory may be missing", Leave
		}
		found = append(found, finding)
	}
	return found, nil
}
