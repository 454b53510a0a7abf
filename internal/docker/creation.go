package docker

import (
	"context"
	"encoding/json"
	"slices"
	"strings"

	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/network"
)

// Creation is what a container was created with, in Docker's own words: another
// one can be made from it. Config and HostConfig are kept as Docker gave them, so
// that what this program does not know is not lost.
type Creation struct {
	Config     json.RawMessage    `json:"config"`
	HostConfig json.RawMessage    `json:"host_config"`
	Networks   map[string]Joining `json:"networks"`
}

// Joining is what was asked for when the container was connected to a network.
type Joining struct {
	Aliases    []string          `json:"aliases,omitempty"`
	Links      []string          `json:"links,omitempty"`
	DriverOpts map[string]string `json:"driver_opts,omitempty"`
	IPv4       string            `json:"ipv4,omitempty"`
	IPv6       string            `json:"ipv6,omitempty"`
}

// creation takes it from an inspection and its text.
func creation(r container.InspectResponse, raw []byte) (Creation, error) {
	var c Creation
	var parts struct {
		Config     json.RawMessage
		HostConfig json.RawMessage
	}
	if err := json.Unmarshal(raw, &parts); err != nil {
		return c, err
	}
	c.Config, c.HostConfig, c.Networks = parts.Config, parts.HostConfig, map[string]Joining{}
	for name, n := range r.NetworkSettings.Networks {
		c.Networks[name] = joining(n)
	}
	return c, nil
}

func joining(n *network.EndpointSettings) Joining {
	j := Joining{Aliases: n.Aliases, Links: n.Links, DriverOpts: n.DriverOpts}
	if n.IPAMConfig != nil {
		j.IPv4, j.IPv6 = n.IPAMConfig.IPv4Address, n.IPAMConfig.IPv6Address
	}
	return j
}

// ImageLayers returns the digests of an image's layers, unpacked (diff_ids):
// images of the same layers have the same files, whatever their IDs are.
func (c *Client) ImageLayers(ctx context.Context, image string) ([]string, error) {
	ctx, cancel := context.WithTimeout(ctx, c.timeout)
	defer cancel()
	i, err := c.api.ImageInspect(ctx, image)
	if err != nil {
		return nil, translate(image, err)
	}
	return i.RootFS.Layers, nil
}

// ImageDigests returns the digests that registries know an image by.
func (c *Client) ImageDigests(ctx context.Context, image string) ([]string, error) {
	ctx, cancel := context.WithTimeout(ctx, c.timeout)
	defer cancel()
	i, err := c.api.ImageInspect(ctx, image)
	if err != nil {
		return nil, translate(image, err)
	}
	var digests []string
	for _, d := range i.RepoDigests {
		if _, digest, ok := strings.Cut(d, "@"); ok && !slices.Contains(digests, digest) {
			digests = append(digests, digest)
		}
	}
	return digests, nil
}
