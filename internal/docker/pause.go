package docker

import (
	"context"
	"errors"
	"fmt"
	"strings"
)

// Unpause lets them run on. It is content with a container that somebody else
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
