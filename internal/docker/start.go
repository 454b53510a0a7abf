package docker

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/network"
)

// Start starts a stopped container; ErrRunning if it runs. It returns when Docker
// has answered, which has no time limit. After an error the container has the
// networks that it had, unless the error says otherwise.
func (c *Client) Start(ctx context.Context, id string) error {
	before, err := c.inspect(ctx, id)
	if err != nil {
		return err
	}
	for tries := 0; ; tries++ {
		err = c.api.ContainerStart(ctx, id, container.StartOptions{})
		if errors.Is(err, ErrRunning) {
			return fmt.Errorf("container %s: %w", id, ErrRunning)
		}
		if err == nil {
			return nil
		}
		err = errors.Join(translate(id, err), c.reconnect(ctx, before))
		if !isTaskLeft(err, before.ID) || tries == taskTries {
			return err
		}
		select {
		case <-ctx.Done():
			return err
		case <-time.After(taskPause):
		}
	}
}

const (
	taskTries = 25
	taskPause = 200 * time.Millisecond
)

// isTaskLeft says whether a start failed for the task of the container's last one. When
// a shim was killed, Docker calls the container stopped before containerd has cleaned up.
func isTaskLeft(err error, id string) bool {
	return strings.Contains(err.Error(), "task "+id+": already exists")
}

// reconnect connects a container to the networks that Docker 29 forgets when it
// cannot set up one of them, for a port that is taken, say. The next start would
// run it without a network (https://github.com/moby/moby/issues/51758).
func (c *Client) reconnect(ctx context.Context, before container.InspectResponse) error {
	now, err := c.inspect(ctx, before.ID)
	if err != nil || now.State.Running {
		return nil // the start's error says more
	}
	var errs []error
	for name, was := range before.NetworkSettings.Networks {
		if now.NetworkSettings.Networks[name] != nil {
			continue
		}
		if err := c.api.NetworkConnect(ctx, name, before.ID, asked(was)); err != nil {
			errs = append(errs, fmt.Errorf("docker has disconnected container %s from network %s, and could not connect it again: %w",
				strings.TrimPrefix(before.Name, "/"), name, translate(name, err)))
		}
	}
	return errors.Join(errs...)
}

// asked is what was asked for when a container, which is stopped now, was connected
// to a network.
func asked(n *network.EndpointSettings) *network.EndpointSettings {
	e := joining(n).endpoint()
	e.MacAddress, e.GwPriority = n.MacAddress, n.GwPriority // a stopped container has a MAC address if it was asked for
	return e
}
