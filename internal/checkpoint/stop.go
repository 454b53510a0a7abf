package checkpoint

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/checkpointctl/checkpointctl/internal/docker"
	"github.com/checkpointctl/checkpointctl/internal/linux"
)

// restarts says whether Docker starts the container afresh when CRIU kills it.
func restarts(c docker.Container) bool { return c.RestartPolicy != "" && c.RestartPolicy != "no" }

// stop has Docker kill a container whose images are complete, while CRIU holds
// its tasks: Docker takes it for stopped by the user, and its restart policy does
// not start it afresh. CRIU's sockets are in repair mode, so no peer hears of the
// end, and the tasks run no instruction more. It returns when the init dies,
// which it cannot finish before CRIU lets go. After an error it lives.
func (m *Creator) stop(ctx context.Context, c docker.Container) error {
	// Docker may do what it was asked also when nobody waits for the answer.
	ctx = context.WithoutCancel(ctx)
	answer := make(chan error, 1)
	go func() { answer <- m.Docker.Kill(ctx, c.ID) }()
	for !linux.Dying(c.PID) {
		select {
		case err := <-answer:
			switch {
			case linux.Dying(c.PID):
				return nil
			case err == nil:
				err = errors.New("it has not been killed")
			}
			return fmt.Errorf("docker kill %s: %w", c.Name, err)
		case <-time.After(2 * time.Millisecond):
		}
	}
	return nil
}

// awaitStop gives Docker some seconds to see that the container has ended, so
// that a restore right after is not refused.
func (m *Creator) awaitStop(ctx context.Context, id string) {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	for {
		if c, err := m.Docker.Inspect(ctx, id); err == nil && c.State != "running" && c.State != "paused" {
			return
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(20 * time.Millisecond):
		}
	}
}
