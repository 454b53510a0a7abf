package docker

import (
	"context"
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"github.com/moby/sys/mountinfo"
)

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

// FreezerCgroup is the directory on the host of the cgroup that Docker freezes
// to pause the container.
func (c Container) FreezerCgroup() (string, error) {
	list, err := mountinfo.GetMounts(nil)
	if err != nil {
		return "", err
	}
	return freezerCgroup(list, c)
}

func freezerCgroup(list []*mountinfo.Info, c Container) (string, error) {
	path := ownCgroup(c.CgroupPath(), c.ID)
	for _, m := range list {
		fits := m.FSType == "cgroup2"
		if c.CgroupMode != "v2" {
			fits = m.FSType == "cgroup" && slices.Contains(strings.Split(m.VFSOptions, ","), "freezer")
		}
		// On a host that is a container itself a part of the tree is mounted.
		if below, err := filepath.Rel(m.Root, path); fits && err == nil && !strings.HasPrefix(below, "..") {
			return filepath.Join(m.Mountpoint, below), nil
		}
	}
	return "", fmt.Errorf("container %s: no freezer cgroup is mounted here", c.Name)
}

// ownCgroup cuts what the container made below its cgroup, as systemd does.
func ownCgroup(path, id string) string {
	if i := strings.Index(path, id); i >= 0 && id != "" {
		if end := strings.Index(path[i:], "/"); end >= 0 {
			return path[:i+end]
		}
	}
	return path
}
