package checkpoint

import (
	"fmt"
	"slices"
	"strings"

	"github.com/checkpointctl/checkpointctl/internal/docker"
	"github.com/checkpointctl/checkpointctl/internal/linux/netns"
	"github.com/checkpointctl/checkpointctl/internal/linux/sockdiag"
	"github.com/checkpointctl/checkpointctl/internal/linux/tasks"
	"github.com/checkpointctl/checkpointctl/internal/preflight"
)

// Facts gathers what the rules of preflight look at, from a running container's
// first process. It needs root.
func Facts(pid int) (f preflight.Facts, err error) {
	if f.Tasks, err = tasks.Tree(pid); err == nil && slices.ContainsFunc(f.Tasks, hasSockets) {
		f.MPTCP, err = sockdiag.MPTCP(netns.Of(pid))
	}
	return f, err
}

func hasSockets(t tasks.Task) bool {
	return slices.ContainsFunc(t.Files, func(f tasks.File) bool { return strings.HasPrefix(f.Target, "socket:") })
}

// preflight returns a *preflight.RefusedError if a rule stands against the
// checkpoint. It comes after the recovery, which ends a CRIU that a killed run
// left: that one would be a tracer.
func (m *Creator) preflight(c docker.Container) error {
	if m.Facts == nil {
		return nil
	}
	facts, err := m.Facts(c.PID)
	if err != nil {
		return fmt.Errorf("container %s: %w", c.Name, err)
	}
	if list := preflight.Check(facts); list != nil {
		return &preflight.RefusedError{Container: c.Name, Refusals: list}
	}
	return nil
}
