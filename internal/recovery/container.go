package recovery

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/checkpointctl/checkpointctl/internal/docker"
	"github.com/checkpointctl/checkpointctl/internal/linux"
	"github.com/checkpointctl/checkpointctl/internal/linux/hold"
	"github.com/checkpointctl/checkpointctl/internal/linux/netlock"
	"github.com/checkpointctl/checkpointctl/internal/linux/netns"
	"github.com/checkpointctl/checkpointctl/internal/runtime"
)

// paused finds the note of a run of an older version, which had Docker pause the
// container. Docker then hangs if that also froze a docker exec that had only
// begun, and is asked when there is none.
func (r *Recoverer) paused(_ context.Context, c container) ([]Finding, error) {
	id := r.store.PausedBy(c.name)
	if id == "" {
		return nil, nil
	}
	return []Finding{{What: "paused for a checkpoint", Action: Undo, do: func(ctx context.Context) error {
		if f, err := linux.FindFreezer(id); err == nil && f.Frozen() {
			limited, cancel := context.WithTimeout(ctx, enterLimit)
			defer cancel()
			if _, err := runtime.Freeze(limited, f); err != nil {
				return err
			}
		}
		if err := r.docker.Unpause(ctx, id); err != nil {
			return err
		}
		return r.store.NoteUnpaused(c.name)
	}}}, nil
}

// enterLimit is for a docker exec to begin.
const enterLimit = 20 * time.Second

// frozen finds the note of a run that had the container frozen. It comes after
// inContainer: what CRIU left is undone before the tasks run.
func (r *Recoverer) frozen(_ context.Context, c container) ([]Finding, error) {
	note := r.store.FrozenBy(c.name)
	if note.ID == "" {
		return nil, nil
	}
	f := linux.FreezerAt(note.Cgroup)
	return []Finding{{What: "frozen for a checkpoint", Path: f.File(), Action: Undo, do: func(ctx context.Context) error {
		now, err := r.docker.Inspect(ctx, note.ID)
		switch {
		case errors.Is(err, docker.ErrNoSuchContainer):
		case err != nil:
			return err
		// One that was paused since is the user's.
		case now.State != "paused" && strings.Contains(note.Cgroup, note.ID) && f.Frozen():
			if err := f.Thaw(); err != nil {
				return err
			}
		}
		return r.store.NoteThawed(c.name)
	}}}, nil
}

// inContainer finds what a CRIU that was killed left in a running container: its
// network lock, TCP sockets in repair mode, a frozen cgroup. While any CRIU is
// at work there, it is that one's: after some seconds of that, ErrBusy.
func (r *Recoverer) inContainer(ctx context.Context, c container) ([]Finding, error) {
	ref := c.id
	if ref == "" {
		ref = c.name
	}
	now, err := r.docker.Inspect(ctx, ref)
	if errors.Is(err, docker.ErrNoSuchContainer) {
		return nil, nil
	}
	if err != nil || now.State != "running" || now.PID == 0 {
		return nil, err
	}
	if !quiet(ctx, now.PID) {
		return nil, fmt.Errorf("container %s: %w", now.Name, ErrBusy)
	}
	var list []Finding
	// As checkpoint.DaemonNetNS has it: Docker's networks end where the shim is.
	ns := netns.Of(linux.Parent(now.PID))
	if held, err := hold.Held(ns); err == nil {
		if _, ok := held[now.ID]; ok {
			list = append(list, Finding{What: "hold of what its clients send", Action: Undo, do: func(context.Context) error { return hold.Release(ns, now.ID) }})
		}
	}
	lock, err := netlock.Find(now.PID)
	if lock.Found() {
		list = append(list, Finding{What: "network lock", Action: Undo, do: func(context.Context) error { return lock.Remove() }})
	}
	if socks := linux.InRepair(linux.Sharing(now.PID, "pid")); len(socks) > 0 {
		list = append(list, Finding{What: "TCP sockets in repair mode", Action: Undo, do: func(context.Context) error { return linux.EndRepair(socks) }})
	}
	// Without a cgroup of its own there is none to touch. One that was frozen for
	// a group has a note until it is thawed, see frozen.
	noted := r.store.FrozenBy(c.name).ID != ""
	if f, err := now.Cgroups.Freezer(now.ID); err == nil && !noted && f.Frozen() {
		list = append(list, Finding{What: "frozen cgroup", Path: f.File(), Action: Undo, do: func(ctx context.Context) error {
			// docker pause freezes too.
			if again, err := r.docker.Inspect(ctx, ref); err != nil || again.State != "running" {
				return err
			}
			return f.Thaw()
		}})
	}
	return list, err
}

// quiet waits until no CRIU is at work on the container of this process. False
// if that takes too long.
func quiet(ctx context.Context, pid int) bool {
	for range 100 {
		if !busy(pid) {
			return true
		}
		select {
		case <-ctx.Done():
			return false
		case <-time.After(50 * time.Millisecond):
		}
	}
	return false
}

// busy says whether a task in the container's pid or network namespace is
// traced, or an iptables runs there, maybe for a CRIU that is gone.
func busy(pid int) bool {
	return slices.ContainsFunc(linux.Sharing(pid, "pid"), linux.Traced) ||
		slices.ContainsFunc(linux.Sharing(pid, "net"), func(p int) bool {
			return strings.Contains(linux.Command(p), "tables") || linux.Traced(p)
		})
}
