package docker

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"
)

// Kill ends the container's tasks and waits until Docker says that it does not
// run any more; no restart policy starts it again. It is content with one that
// does not run.
func (c *Client) Kill(ctx context.Context, id string) error {
	limited, cancel := context.WithTimeout(ctx, c.timeout)
	defer cancel()
	killErr := translate(id, c.api.ContainerKill(limited, id, "KILL"))
	for {
		now, err := c.inspect(limited, id)
		switch {
		case err == nil && !now.State.Running:
			return nil
		case err != nil || killErr != nil:
			return errors.Join(killErr, err)
		}
		select {
		case <-limited.Done():
			return fmt.Errorf("container %s does not end: %w", id, limited.Err())
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// Unpause lets the tasks of a paused container run on. It is content with a container that somebody else
// let run on, or that has ended or gone.
func (c *Client) Unpause(ctx context.Context, id string) error {
	limited, cancel := context.WithTimeout(ctx, c.timeout)
	defer cancel()
	err := translate(id, c.api.ContainerUnpause(limited, id))
	if err == nil {
		return nil
	}
	now, inspectErr := c.inspect(ctx, id)
	switch {
	case errors.Is(inspectErr, ErrNoSuchContainer), inspectErr == nil && now.State.Status != "paused":
		return nil
	case inspectErr == nil:
		id = strings.TrimPrefix(now.Name, "/")
	}
	return fmt.Errorf("container %s stays paused (docker unpause %s): %w", id, id, err)
}
