package docker

import (
	"context"
	"slices"

	"github.com/containerd/errdefs"
	"github.com/docker/docker/api/types/mount"
)

// Volume is a named or anonymous volume that a container mounts.
type Volume struct {
	Name, Destination, Source string
	// Away says that its files are at Source only while a container with it runs:
	// it is of another driver than local, or has options of a mount.
	Away   bool
	Driver string
	// Others are the names of the other containers that mount it, running or not,
	// and Running of those of them that run.
	Others, Running []string
}

// Volumes returns the volumes of a container, running or not, and who else
// mounts them. It returns ErrNoSuchContainer or ErrUnreachable.
func (c *Client) Volumes(ctx context.Context, id string) ([]Volume, error) {
	r, err := c.inspect(ctx, id)
	if err != nil {
		return nil, err
	}
	var list []Volume
	for _, m := range r.Mounts {
		if m.Type != mount.TypeVolume {
			continue
		}
		v := Volume{Name: m.Name, Destination: inRoot("", m.Destination), Source: m.Source, Driver: m.Driver, Away: m.Driver != "local"}
		if !v.Away {
			if v.Away, err = c.hasOptions(ctx, m.Name); err != nil {
				return nil, err
			}
		}
		list = append(list, v)
	}
	if list == nil {
		return nil, nil
	}
	all, err := c.List(ctx)
	if err != nil {
		return nil, err
	}
	for _, other := range all {
		for i := range list {
			if other.ID == r.ID || !slices.Contains(other.Volumes, list[i].Name) {
				continue
			}
			list[i].Others = append(list[i].Others, other.Name)
			if other.State == "running" || other.State == "paused" || other.State == "restarting" {
				list[i].Running = append(list[i].Running, other.Name)
			}
		}
	}
	return list, nil
}

func (c *Client) hasOptions(ctx context.Context, volume string) (bool, error) {
	ctx, cancel := context.WithTimeout(ctx, c.timeout)
	defer cancel()
	v, err := c.api.VolumeInspect(ctx, volume)
	if errdefs.IsNotFound(err) {
		return false, nil // its mount will fail by itself
	}
	return len(v.Options) > 0, translate("", err)
}
