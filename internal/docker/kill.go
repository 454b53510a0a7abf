package docker

import (
	"context"
	"errors"
	"fmt"
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
