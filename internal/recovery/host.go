package recovery

import (
	"context"
	"errors"

	"github.com/checkpointctl/checkpointctl/internal/docker"
	"github.com/checkpointctl/checkpointctl/internal/linux/hold"
	"github.com/checkpointctl/checkpointctl/internal/runtime"
)

// killedRestores finds restores that nobody is at work on any more.
func killedRestores(_ context.Context, c container) ([]Finding, error) {
	var list []Finding
	for _, a := range runtime.FindAbandoned(c.id) {
		list = append(list, Finding{What: "restore that was killed", Container: a.ID, Path: a.Dir, Action: Remove, do: func(context.Context) error { return a.Recover() }})
	}
	return list, nil
}

// heldClients finds what is held for containers that are gone, or that nobody
// restored in time. Of a running one inContainer finds it.
func (r *Recoverer) heldClients(ctx context.Context, c container) ([]Finding, error) {
	held, err := hold.Held("")
	if err != nil {
		return nil, nil // a kernel without nftables holds nothing
	}
	var list []Finding
	for id, flows := range held {
		if c.id != "" && c.id != id {
			continue
		}
		_, err := r.docker.Inspect(ctx, id)
		gone := errors.Is(err, docker.ErrNoSuchContainer)
		if err != nil && !gone {
			return list, err
		}
		if flows == 0 || gone {
			list = append(list, Finding{What: "hold of what clients sent", Container: id, Action: Remove, do: func(context.Context) error { return hold.Release("", id) }})
		}
	}
	return list, nil
}

// killedStarts finds what runc left of starts that ended with Docker.
func killedStarts(_ context.Context, c container) ([]Finding, error) {
	var list []Finding
	for _, dir := range runtime.KilledStarts(c.id) {
		list = append(list, Finding{What: "runc's directory of a start that was killed", Path: dir, Action: Remove, do: func(context.Context) error {
			return runtime.RemoveKilledStart(dir)
		}})
	}
	return list, nil
}
