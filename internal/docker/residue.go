package docker

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/checkpointctl/checkpointctl/internal/linux"
)

// ErrBusy is a container that a CRIU works on, maybe that of a killed run.
var ErrBusy = errors.New("its tasks are traced: a CRIU is still at work, or a debugger")

// Residue lists what a CRIU that was killed left in a running container: its
// network lock, TCP sockets in repair mode, a frozen cgroup. While any CRIU is
// at work there, it is that one's: after some seconds of that, ErrBusy.
func (c *Client) Residue(ctx context.Context, id string) ([]Leftover, error) {
	now, err := c.Inspect(ctx, id)
	if err != nil || now.State != "running" || now.PID == 0 {
		return nil, err
	}
	if !quiet(ctx, now.PID) {
		return nil, fmt.Errorf("container %s: %w", now.Name, ErrBusy)
	}
	var list []Leftover
	lock, err := linux.FindNetworkLock(now.PID)
	if lock.Found() {
		list = append(list, Leftover{What: "network lock", Undo: func(context.Context) error { return lock.Remove() }})
	}
	if socks := linux.InRepair(linux.Sharing(now.PID, "pid")); len(socks) > 0 {
		list = append(list, Leftover{What: "TCP sockets in repair mode", Undo: func(context.Context) error { return linux.EndRepair(socks) }})
	}
	// Without a cgroup of its own there is none to touch.
	if f, err := now.Cgroups.Freezer(now.ID); err == nil && f.Frozen() {
		list = append(list, Leftover{What: "frozen cgroup", Path: f.File(), Undo: func(ctx context.Context) error {
			// docker pause freezes too.
			if again, err := c.Inspect(ctx, id); err != nil || again.State != "running" {
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
