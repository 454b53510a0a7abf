package docker

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"

	"github.com/containerd/errdefs"
	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/image"
	"github.com/docker/docker/api/types/network"
	"github.com/docker/docker/client"
)

// ErrNoImage is an image that is not on this host.
var ErrNoImage = errors.New("no such image")

// FindImage returns an image with these layers: one of those named first, as it is
// named, and else the ID of any. ErrNoImage if there is none.
func (c *Client) FindImage(ctx context.Context, layers []string, first ...string) (string, error) {
	for _, ref := range first {
		if ref == "" {
			continue
		}
		i, err := c.api.ImageInspect(ctx, ref)
		if err == nil && (layers == nil || slices.Equal(i.RootFS.Layers, layers)) {
			return ref, nil
		}
		if err != nil && !errdefs.IsNotFound(err) && !errdefs.IsInvalidArgument(err) {
			return "", translate(ref, err)
		}
	}
	if layers != nil {
		list, err := c.api.ImageList(ctx, image.ListOptions{})
		if err != nil {
			return "", translate("", err)
		}
		for _, l := range list {
			if i, err := c.api.ImageInspect(ctx, l.ID); err == nil && slices.Equal(i.RootFS.Layers, layers) {
				return i.ID, nil
			}
		}
	}
	return "", ErrNoImage
}

// SaveImage opens an image as docker save gives it. Named by its ID it brings no tags.
func (c *Client) SaveImage(ctx context.Context, id string) (io.ReadCloser, error) {
	in, err := c.api.ImageSave(ctx, []string{id})
	return in, translate(id, err)
}

// LoadImage does what docker load does.
func (c *Client) LoadImage(ctx context.Context, in io.Reader) error {
	loaded, err := c.api.ImageLoad(ctx, in, client.ImageLoadWithQuiet(true))
	if err != nil {
		return translate("", err)
	}
	defer loaded.Body.Close()
	// An error may come after the status.
	for dec := json.NewDecoder(loaded.Body); ; {
		var m struct{ Error string }
		if err := dec.Decode(&m); errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return fmt.Errorf("docker load: %w", err)
		}
		if m.Error != "" {
			return fmt.Errorf("docker load: %s", m.Error)
		}
	}
}

// HasNetwork says whether there is a network of that name.
func (c *Client) HasNetwork(ctx context.Context, name string) (bool, error) {
	_, err := c.api.NetworkInspect(ctx, name, network.InspectOptions{})
	if errdefs.IsNotFound(err) {
		return false, nil
	}
	return err == nil, translate(name, err)
}

// HasVolume says whether there is a volume of that name.
func (c *Client) HasVolume(ctx context.Context, name string) (bool, error) {
	_, err := c.api.VolumeInspect(ctx, name)
	if errdefs.IsNotFound(err) {
		return false, nil
	}
	return err == nil, translate(name, err)
}

// Create makes a container and connects it to its networks. It does not run. It
// returns its ID, also after an error if there is something to be removed, and
// what Docker warned of.
func (c *Client) Create(ctx context.Context, d Draft) (id string, warnings []string, err error) {
	var first *network.NetworkingConfig
	if j, ok := d.networks[d.network]; ok && j.asks() {
		first = &network.NetworkingConfig{EndpointsConfig: map[string]*network.EndpointSettings{d.network: j.endpoint()}}
	}
	made, err := c.api.ContainerCreate(ctx, &d.config, &d.host, first, nil, d.Name)
	if errdefs.IsConflict(err) {
		return "", nil, &StateError{Name: d.Name, Is: "is there already", Hint: "take another --name"}
	}
	if err != nil {
		return "", nil, fmt.Errorf("creating container %s: %w", d.Name, translate(d.Name, err))
	}
	for name, j := range d.networks {
		if name == d.network {
			continue
		}
		if err := c.api.NetworkConnect(ctx, name, made.ID, j.endpoint()); err != nil {
			return made.ID, nil, fmt.Errorf("connecting container %s to network %s: %w", d.Name, name, translate(name, err))
		}
	}
	return made.ID, made.Warnings, nil
}

// asks says whether anything is asked for.
func (j Joining) asks() bool {
	return j.IPv4 != "" || j.IPv6 != "" || len(j.Aliases)+len(j.Links)+len(j.DriverOpts) > 0
}

func (j Joining) endpoint() *network.EndpointSettings {
	e := &network.EndpointSettings{Aliases: j.Aliases, Links: j.Links, DriverOpts: j.DriverOpts}
	if j.IPv4 != "" || j.IPv6 != "" {
		e.IPAMConfig = &network.EndpointIPAMConfig{IPv4Address: j.IPv4, IPv6Address: j.IPv6}
	}
	return e
}

// Remove removes a container, which is killed if it runs, with its anonymous
// volumes.
func (c *Client) Remove(ctx context.Context, id string) error {
	return translate(id, c.api.ContainerRemove(ctx, id, container.RemoveOptions{Force: true, RemoveVolumes: true}))
}

// RemoveVolume removes a volume, unless a container mounts it.
func (c *Client) RemoveVolume(ctx context.Context, name string) error {
	err := c.api.VolumeRemove(ctx, name, false)
	if errdefs.IsConflict(err) {
		return nil
	}
	return translate(name, err)
}

// Exec runs a command in a container, and returns what it wrote, mixed, and its
// exit status.
func (c *Client) Exec(ctx context.Context, id string, env, command []string) (output string, status int, err error) {
	made, err := c.api.ContainerExecCreate(ctx, id, container.ExecOptions{Cmd: command, Env: env, AttachStdout: true, AttachStderr: true, Tty: true})
	if err != nil {
		return "", 0, translate(id, err)
	}
	attached, err := c.api.ContainerExecAttach(ctx, made.ID, container.ExecAttachOptions{Tty: true})
	if err != nil {
		return "", 0, translate(id, err)
	}
	defer attached.Close()
	stop := context.AfterFunc(ctx, attached.Close)
	defer stop()
	text, err := readMost(attached.Reader)
	if err != nil {
		return "", 0, err
	}
	ended, err := c.api.ContainerExecInspect(ctx, made.ID)
	return text, ended.ExitCode, translate(id, err)
}
