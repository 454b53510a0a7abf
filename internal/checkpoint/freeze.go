package checkpoint

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"time"

	"github.com/checkpointctl/checkpointctl/internal/docker"
	"github.com/checkpointctl/checkpointctl/internal/linux"
	"github.com/checkpointctl/checkpointctl/internal/metadata"
	"github.com/checkpointctl/checkpointctl/internal/runtime"
)

// freezer is the cgroup of a member of a group.
type freezer interface {
	runtime.Freezer
	Frozen() bool
	Dir() string
}

func (m *Creator) freezerOf(c docker.Container) (freezer, error) {
	if m.freezer != nil {
		return m.freezer(c)
	}
	return c.Freezer()
}

// freezeLimit is for a task that the kernel cannot freeze, and for containers that
// never stop being entered by docker exec.
const freezeLimit = 10 * time.Second

// freezeAll notes all members as frozen, and then freezes all at once.
func (g *group) freezeAll(ctx context.Context) error {
	err := g.each(func(m *member) error {
		m.noted = true
		c := m.req.Container
		return g.creator.Store.NoteFrozen(c.Name, metadata.Frozen{ID: c.ID, Cgroup: m.cgroup.Dir()})
	})
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, freezeLimit)
	defer cancel()
	err = g.each(func(m *member) error { return m.hold(ctx) })
	first, last := g.members[0].frozen, g.members[0].frozen
	for _, m := range g.members {
		if m.frozen.Before(first) {
			first = m.frozen
		}
		if m.frozen.After(last) {
			last = m.frozen
		}
	}
	g.info.SpreadUS = last.Sub(first).Microseconds()
	return err
}

// hold freezes the member, and refuses one that was started again since it was
// inspected: its pid may be another's by now.
func (m *member) hold(ctx context.Context) error {
	c := m.req.Container
	if m.cgroup.Frozen() {
		return &docker.StateError{Name: c.Name, Is: "was paused meanwhile", Hint: "docker unpause " + c.Name}
	}
	m.held = true
	pids, err := runtime.Freeze(ctx, m.cgroup)
	switch {
	case errors.Is(err, os.ErrNotExist):
		return &docker.StateError{Name: c.Name, Is: "has ended meanwhile", Hint: "docker ps -a shows its state"}
	case err != nil:
		return fmt.Errorf("container %s: %w", c.Name, err)
	}
	m.frozen = time.Now()
	if !slices.Contains(pids, c.PID) || runtime.FindTask(c.PID) != c.Init {
		return &docker.StateError{Name: c.Name, Is: "was started again meanwhile", Hint: "try again"}
	}
	m.connected = linux.Connected(c.PID)
	return nil
}

// thaw lets the member run on, unless it has ended.
func (m *member) thaw() error {
	if !m.noted || !m.thawed.IsZero() {
		return nil
	}
	c := m.req.Container
	if m.held && (m.req.Options.LeaveRunning || !m.dumped) {
		if err := m.cgroup.Thaw(); err != nil && !errors.Is(err, os.ErrNotExist) {
			return fmt.Errorf("container %s stays frozen (checkpointctl repair): %w", c.Name, err)
		}
	}
	m.thawed = time.Now()
	if m.dumped && m.req.Options.LeaveRunning {
		m.group.creator.happened(Event{Container: c.Name, Checkpoint: m.taken.name, State: StateThawed, Took: m.thawed.Sub(m.frozen)})
	}
	return m.group.creator.Store.NoteThawed(c.Name)
}
