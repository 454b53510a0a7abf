package checkpoint

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"

	"github.com/checkpointctl/checkpointctl/internal/docker"
)

// aside does beside what follows a dump what can wait until the container runs on.
// What it found is there when the channel is closed.
func (m *Creator) aside(ctx context.Context, j job, c docker.Container) <-chan struct{} {
	streams, inet := hasStreams(j.images), hasInet(j.images)
	var all sync.WaitGroup
	var connections, leftOut, left []string
	all.Go(func() { connections = j.network.readConnections(c, streams) })
	all.Go(func() { leftOut = j.leftOut.read(c, inet) })
	if j.options.NetworkLock != lockSkip {
		all.Go(func() { left = m.leftBehind(ctx, c) })
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		all.Wait()
		m.warn(slices.Concat(connections, leftOut, left))
	}()
	return done
}

// leftBehind undoes what a dump that succeeded left in the container: CRIU goes on when an
// iptables-restore that takes its lock away fails (network_unlock in criu/net.c, 4.2).
func (m *Creator) leftBehind(ctx context.Context, c docker.Container) (warnings []string) {
	found, err := m.Recovery.AfterDump(context.WithoutCancel(ctx), c)
	if err != nil {
		return []string{fmt.Sprintf("container %s: checkpointctl repair is needed: %v", c.Name, err)}
	}
	for _, f := range found {
		warnings = append(warnings, fmt.Sprintf("container %s: CRIU left its %s, which is undone", c.Name, f.What))
	}
	return warnings
}

// stateAfter adds to the error of a dump how the container is now.
func (m *Creator) stateAfter(ctx context.Context, c docker.Container, err error) error {
	var failed *dumpFailed
	if !errors.As(err, &failed) {
		return err
	}
	ctx = context.WithoutCancel(ctx)
	err = m.recover(ctx, c, err)
	now, inspectErr := m.Docker.Inspect(ctx, c.ID)
	switch {
	case inspectErr != nil:
		return fmt.Errorf("%w; the container's state is unknown: %w", err, inspectErr)
	case now.State == "running" && now.PID == c.PID:
		return fmt.Errorf("%w; the container runs on", err)
	default:
		return fmt.Errorf("%w; the container is %s", err, now.State)
	}
}

// recover undoes what a CRIU that was killed left in the container, and adds
// that to the error.
func (m *Creator) recover(ctx context.Context, c docker.Container, err error) error {
	found, recoverErr := m.Recovery.AfterDump(ctx, c)
	if recoverErr != nil {
		return fmt.Errorf("%w; checkpointctl repair is needed: %s", err, recoverErr.Error())
	}
	for _, f := range found {
		err = fmt.Errorf("%w; CRIU's %s is undone", err, f.What)
	}
	return err
}
