package checkpoint

import (
	"github.com/checkpointctl/checkpointctl/internal/docker"
	"github.com/checkpointctl/checkpointctl/internal/metadata"
	"github.com/checkpointctl/checkpointctl/internal/mounts"
)

// Describe is the container as records and inspect show it.
func Describe(c docker.Container, plan mounts.Plan) metadata.Container {
	out := metadata.Container{
		ID: c.ID, Name: c.Name, PID: c.PID, StartedAt: c.StartedAt, State: c.State, Image: c.Image, ImageDigest: c.ImageDigest, Labels: c.Labels,
		Driver: c.Driver, RootFS: c.RootFS, UpperDir: c.UpperDir, Runtime: c.Runtime, BundlePath: c.BundlePath,
		CgroupMode: c.Cgroups.Mode, CgroupPath: c.Cgroups.Path(),
		Cgroups: []metadata.Cgroup{}, Namespaces: []metadata.Namespace{}, Networks: []metadata.Network{}, Mounts: []metadata.Mount{},
	}
	out.Settings = Settings(c)
	for _, g := range c.Cgroups.List {
		out.Cgroups = append(out.Cgroups, metadata.Cgroup(g))
	}
	for _, n := range c.Namespaces {
		out.Namespaces = append(out.Namespaces, metadata.Namespace(n))
	}
	for _, n := range c.Networks {
		out.Networks = append(out.Networks, metadata.Network(n))
	}
	for _, i := range plan.Items {
		out.Mounts = append(out.Mounts, metadata.Mount{
			Path: i.Mount.Path, FSType: i.Mount.FSType, Root: i.Mount.Root, Source: c.BindSources[i.Mount.Path],
			Action: string(i.Action), Key: i.Key, Value: i.Value, Reason: i.Reason,
		})
	}
	return out
}

// Settings are those of a container, as records have them.
func Settings(c docker.Container) *metadata.Settings {
	from := c.Settings
	s := &metadata.Settings{
		Hostname: from.Hostname, User: from.User, CapAdd: from.CapAdd, CapDrop: from.CapDrop,
		Privileged: from.Privileged, ReadOnly: from.ReadOnly, TTY: c.TTY, Init: from.Init,
		PIDMode: c.PIDMode, IPCMode: from.IPCMode, UTSMode: from.UTSMode, NetworkMode: c.NetworkMode, Ports: from.Ports,
	}
	for _, m := range from.Mounts {
		s.Mounts = append(s.Mounts, metadata.MountSetting(m))
	}
	return s
}
