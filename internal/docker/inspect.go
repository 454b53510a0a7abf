package docker

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	securejoin "github.com/cyphar/filepath-securejoin"
	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/mount"
	"golang.org/x/sys/unix"

	"github.com/checkpointctl/checkpointctl/internal/linux"
	"github.com/checkpointctl/checkpointctl/internal/mounts"
	"github.com/checkpointctl/checkpointctl/internal/runtime"
)

// Container is what Docker and /proc say of a container. What comes from
// /proc is empty when it does not run.
type Container struct {
	ID, Name, State    string
	PID                int
	Init               runtime.Task // that has the pid
	CreatedAt          time.Time
	StartedAt          time.Time
	Image, ImageDigest string
	Driver             string
	RootFS             string   // merged root filesystem on the host
	UpperDir           string   // its writable layer
	LowerDirs          []string // the image's layers, if they are known
	Runtime            string
	BundlePath         string // empty if found nowhere
	Labels             map[string]string
	AutoRemove, TTY    bool
	RestartPolicy      string
	MaxRetries         int      // of the policy on-failure; 0 is no limit
	HealthCheck        []string // as the image or the user gave it: CMD-SHELL or CMD, and what follows
	PIDMode            string
	NetworkMode        string
	Cgroups            linux.Cgroups
	Namespaces         []linux.Namespace
	Networks           []Network
	Mounts             []mounts.Mount
	MountFacts         mounts.Facts
	BindSources        map[string]string // on the host, by destination
	Settings           Settings
	Creation           Creation
}

// Network is an attachment to a Docker network.
type Network struct{ Name, IP, IPv6, MAC string }

// Inspect resolves a name, an ID or a unique ID prefix. It returns
// ErrNoSuchContainer or ErrUnreachable. The container is not touched.
func (c *Client) Inspect(ctx context.Context, ref string) (Container, error) {
	for range 50 {
		out, err := c.inspectOnce(ctx, ref)
		gone := errors.Is(err, os.ErrNotExist) || errors.Is(err, unix.ESRCH)
		if !gone || errors.Is(err, ErrUnreachable) {
			return out, err
		}
		// The process has ended, and Docker is about to notice.
		time.Sleep(20 * time.Millisecond)
	}
	return c.inspectOnce(ctx, ref)
}

func (c *Client) inspectOnce(ctx context.Context, ref string) (Container, error) {
	r, raw, err := c.inspectRaw(ctx, ref)
	if err != nil {
		return Container{}, err
	}
	out := Container{
		ID: r.ID, Name: strings.TrimPrefix(r.Name, "/"), State: r.State.Status, PID: r.State.Pid,
		Labels: r.Config.Labels,
		Image:  r.Config.Image, ImageDigest: r.Image,
		Driver: r.GraphDriver.Name, RootFS: r.GraphDriver.Data["MergedDir"], UpperDir: r.GraphDriver.Data["UpperDir"],
		LowerDirs: list(r.GraphDriver.Data["LowerDir"]),
		Runtime:   r.HostConfig.Runtime, AutoRemove: r.HostConfig.AutoRemove, TTY: r.Config.Tty,
		RestartPolicy: string(r.HostConfig.RestartPolicy.Name), MaxRetries: r.HostConfig.RestartPolicy.MaximumRetryCount,
		PIDMode: string(r.HostConfig.PidMode), NetworkMode: string(r.HostConfig.NetworkMode),
		Settings: settings(r),
	}
	if r.Config.Healthcheck != nil {
		out.HealthCheck = r.Config.Healthcheck.Test
	}
	if out.Creation, err = creation(r, raw); err != nil {
		return Container{}, fmt.Errorf("container %s: %w", out.Name, err)
	}
	// Docker writes what RFC 3339 is; a zero time does no harm.
	out.CreatedAt, _ = time.Parse(time.RFC3339Nano, r.Created)
	out.StartedAt, _ = time.Parse(time.RFC3339Nano, r.State.StartedAt)
	for name, n := range r.NetworkSettings.Networks {
		out.Networks = append(out.Networks, Network{Name: name, IP: n.IPAddress, IPv6: n.GlobalIPv6Address, MAC: n.MacAddress})
	}
	slices.SortFunc(out.Networks, func(a, b Network) int { return strings.Compare(a.Name, b.Name) })
	if out.PID == 0 {
		return out, nil
	}
	out.Init = runtime.FindTask(out.PID)
	var spec runtime.Config
	out.BundlePath, spec = runtime.FindBundle(out.ID, out.PID)
	if out.RootFS == "" {
		out.RootFS = spec.Root.Path // containerd's image store has no graph driver
	}
	layers := readLayers(out.PID)
	if out.UpperDir == "" {
		out.UpperDir = layers.upper
	}
	if out.LowerDirs == nil {
		out.LowerDirs = layers.lower
	}
	out.MountFacts = mountFacts(r, spec, out.RootFS)
	out.BindSources = map[string]string{}
	for _, m := range spec.Mounts {
		if m.IsBind() {
			out.BindSources[inRoot(out.RootFS, m.Destination)] = m.Source
		}
	}
	if err := out.readProc(); err != nil {
		return Container{}, fmt.Errorf("container %s: %w", out.Name, err)
	}
	return out, nil
}

// list splits a list of directories.
func list(text string) []string {
	if text == "" {
		return nil
	}
	return strings.Split(text, ":")
}

// mountFacts joins Docker's mount list with the OCI config's.
func mountFacts(r container.InspectResponse, s runtime.Config, rootfs string) mounts.Facts {
	f := mounts.Facts{Binds: map[string]bool{}, Own: map[string]bool{}}
	add := func(set map[string]bool, dest string) {
		set[inRoot(rootfs, dest)] = true
	}
	for _, m := range r.Mounts {
		if m.Type != mount.TypeTmpfs {
			add(f.Binds, m.Destination)
		}
	}
	for path, dest := range map[string]string{
		r.ResolvConfPath: "/etc/resolv.conf", r.HostnamePath: "/etc/hostname", r.HostsPath: "/etc/hosts",
	} {
		if path != "" {
			add(f.Binds, dest)
		}
	}
	for _, m := range s.Mounts {
		if m.IsBind() {
			add(f.Binds, m.Destination)
		} else {
			add(f.Own, m.Destination)
		}
	}
	return f
}

// inRoot resolves symbolic links as runc does when it mounts.
func inRoot(rootfs, dest string) string {
	full, err := securejoin.SecureJoin(rootfs, dest)
	if rootfs == "" || err != nil {
		return filepath.Clean(dest)
	}
	return filepath.Join("/", strings.TrimPrefix(full, rootfs))
}

// readProc fills in what /proc knows.
func (c *Container) readProc() error {
	f, err := os.Open(fmt.Sprintf("/proc/%d/mountinfo", c.PID))
	if err != nil {
		return err
	}
	defer f.Close()
	if c.Mounts, err = mounts.Parse(f); err != nil {
		return err
	}
	if c.Cgroups, err = linux.ReadCgroups(c.PID); err != nil {
		return err
	}
	c.Namespaces, err = linux.Namespaces(c.PID, runtime.Others(c.BundlePath))
	return err
}

// Freezer returns the cgroup that freezes the container, and nothing else.
func (c Container) Freezer() (linux.Freezer, error) {
	f, err := c.Cgroups.Freezer(c.ID)
	if err != nil {
		return f, fmt.Errorf("container %s: %w", c.Name, err)
	}
	return f, nil
}

// Namespace returns the namespace of a type (net, pid, ...).
func (c Container) Namespace(kind string) linux.Namespace {
	for _, n := range c.Namespaces {
		if n.Type == kind {
			return n
		}
	}
	return linux.Namespace{}
}
