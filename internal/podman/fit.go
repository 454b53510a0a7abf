package podman

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"path"
	"slices"
	"strings"

	"github.com/checkpointctl/checkpointctl/internal/archive"
	"github.com/checkpointctl/checkpointctl/internal/checkpoint"
	"github.com/checkpointctl/checkpointctl/internal/criuimg"
	"github.com/checkpointctl/checkpointctl/internal/metadata"
)

// netNSKey is runc's for the network namespace of a container that has a path:
// criuNsToKey in libcontainer.
const netNSKey = "extRootNetNS"

func (c *Checkpoint) refused(reasons ...string) error {
	return &RefusedError{Checkpoint: c.record.Name + "/" + c.record.Checkpoint, Reasons: reasons}
}

func (c *Checkpoint) warn(format string, args ...any) {
	c.Warnings = append(c.Warnings, fmt.Sprintf(format, args...))
}

// configure makes what Podman reads beside the images, or refuses.
func (c *Checkpoint) configure(ctx context.Context) error {
	r := c.record
	var from created
	var raw json.RawMessage
	err := c.read(ctx, checkpoint.CreationFile, &from)
	if err == nil {
		err = c.read(ctx, checkpoint.SpecFile, &raw)
	}
	if errors.Is(err, fs.ErrNotExist) || err == nil && r.Settings == nil {
		return c.refused("it is of an older version, which did not keep the OCI configuration of its container: make a new checkpoint")
	}
	if err != nil {
		return err
	}
	s, err := parseSpec(raw)
	if err != nil {
		return c.damaged(checkpoint.SpecFile, err)
	}
	namespaces, err := s.namespaces()
	if err != nil {
		return c.damaged(checkpoint.SpecFile, err)
	}
	_, ownNet := namespaces["network"]
	sockets, err := criuimg.ReadInet(c.images())
	if err != nil {
		return c.damaged("files.img", err)
	}
	volumes, binds, reasons := s.convert(r)
	reasons = append(reasons, unfit(r, from, ownNet)...)
	reasons = append(reasons, s.external(r)...)
	if ownNet {
		reasons = append(reasons, addresses(sockets)...)
	}
	if reasons != nil {
		slices.Sort(reasons)
		return c.refused(slices.Compact(reasons)...)
	}
	conf, ports := configure(r, from, ownNet)
	conf.NamedVolumes = volumes
	c.tell(binds, ports, sockets, ownNet)
	if err := c.encode(conf, s); err != nil {
		return err
	}
	mounts, err := criuimg.WithoutMasters(c.images())
	if err != nil {
		return c.damaged("images", err)
	}
	for name, image := range mounts {
		c.replace(name, image)
	}
	if !ownNet {
		return nil
	}
	// CRIU was told to leave the namespace empty for Docker to fill it. Podman makes it
	// before, and runc hands it over by this key.
	id, err := criuimg.ReadNetNS(c.images())
	if err != nil {
		return c.damaged("images", err)
	}
	name, image, err := criuimg.ExternalNetNS(id, netNSKey)
	c.replace(name, image)
	return err
}

// replace puts another image into the place of one, if there is one.
func (c *Checkpoint) replace(name string, image []byte) {
	c.files = slices.DeleteFunc(c.files, func(f archive.Source) bool { return f.File.Name == name })
	c.made[path.Join(imageDir, name)] = image
}

// encode makes the entries.
func (c *Checkpoint) encode(conf config, s spec) (err error) {
	if c.made["config.dump"], err = encoded(conf); err != nil {
		return err
	}
	if c.made["spec.dump"], err = s.encode(conf.StopSignal); err != nil {
		return err
	}
	// Without an address: Podman's networks have others than Docker's.
	c.made["network.status"], err = encoded(struct{}{})
	return err
}

// unfit are the reasons for which a container of Docker cannot be one of Podman.
func unfit(r metadata.Record, from created, ownNet bool) (reasons []string) {
	h := from.HostConfig
	add := func(is bool, reason string) {
		if is {
			reasons = append(reasons, reason)
		}
	}
	add(h.Init != nil && *h.Init, "its first process is Docker's init (--init)")
	for what, mode := range map[string]string{"network": h.NetworkMode, "IPC": h.IPCMode, "UTS": h.UTSMode} {
		add(strings.HasPrefix(mode, "container:"), "it shares the "+what+" namespace of another container")
	}
	add(h.IPCMode == "host", "it shares the host's IPC namespace, and Podman gives a restored container a /dev/shm of its own")
	add(h.NetworkMode == "none" || !ownNet && h.NetworkMode != "host", "it has no network (--network none), and Podman gives such a container no /etc/resolv.conf")
	add(r.Driver != "overlay2" && r.Driver != "vfs", "Docker stores images by "+r.Driver+" there, which gives them other IDs than Podman")
	return reasons
}

// addresses are refused if a socket has an address of Docker's network.
func addresses(sockets []criuimg.Inet) (reasons []string) {
	for _, s := range sockets {
		if a := s.Local.Addr(); a.IsUnspecified() || a.IsLoopback() || a.IsMulticast() {
			continue
		}
		what := "a socket at"
		if isConnected(s) {
			what = "a connection from"
		}
		reasons = append(reasons, fmt.Sprintf("it has %s %s, an address that it does not have in Podman", what, s.Local.Addr()))
	}
	return reasons
}

func isConnected(s criuimg.Inet) bool {
	return !s.Listens && s.Remote != netip.AddrPort{} && s.Remote.Port() != 0
}

// ordinary are settings that Docker makes in each container, and Podman, too. Docker also
// disables IPv6 where its networks have none.
var ordinary = [...]string{"net.ipv4.ip_unprivileged_port_start", "net.ipv4.ping_group_range"}

// tell warns of what is left out, and of what podman is to be told.
func (c *Checkpoint) tell(binds, ports []string, sockets []criuimg.Inet, ownNet bool) {
	r := c.record
	if _, has := r.Part(metadata.PartRootFS); !has {
		c.warn("the files that the container wrote are left out: the checkpoint does not have them")
	}
	for _, source := range binds {
		c.warn("%s of this host is mounted from the same path where Podman restores", source)
	}
	for _, p := range ports {
		c.warn("port %s is not published: Docker chose its port on the host; -p publishes it", p)
	}
	for _, n := range r.Networks {
		if ownNet && n.Name != "bridge" {
			c.warn("network %s becomes Podman's default network", n.Name)
		}
	}
	var settings []string
	for name := range r.Sysctls {
		if !slices.Contains(ordinary[:], name) && !strings.HasSuffix(name, ".disable_ipv6") {
			settings = append(settings, name)
		}
	}
	if slices.Sort(settings); settings != nil {
		c.warn("settings of the network are left out: %s", strings.Join(settings, ", "))
	}
	if slices.ContainsFunc(sockets, func(s criuimg.Inet) bool { return !s.UDP && isConnected(s) }) {
		c.warn("it has TCP connections: podman container restore needs --tcp-established")
	}
	if _, err := fs.Stat(c.images(), "filelocks.img"); err == nil {
		c.warn("it has file locks: podman container restore needs --file-locks")
	}
}
