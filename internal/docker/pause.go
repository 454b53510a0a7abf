package docker

import "context"

// Pause freezes the container's tasks; Docker shows it as paused.
func (c *Client) Pause(ctx context.Context, id string) error {
	ctx, cancel := context.WithTimeout(ctx, c.timeout)
	defer cancel()
	return translate(id, c.api.ContainerPause(ctx, id))
}

// Unpause lets them run on.
func (c *Client) Unpause(ctx context.Context, id string) error {
	ctx, cancel := context.WithTimeout(ctx, c.timeout)
	defer cancel()
	return translate(id, c.api.ContainerUnpause(ctx, id))
}
