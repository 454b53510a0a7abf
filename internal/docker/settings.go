package docker

import (
	"net/netip"
	"slices"
	"strings"

	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/mount"
)

// Settings are what a container was created with, as far as the processes of a
// checkpoint or their clients depend on it.
type Settings struct {
	Hostname, User   string
	CapAdd, CapDrop  []string // as in SYS_PTRACE, sorted
	Privileged       bool
	ReadOnly         bool // its root filesystem
	Init             bool // its first process is Docker's init
	IPCMode, UTSMode string
	Ports            []string // published ones, as in 127.0.0.1:8080->80/tcp, sorted
	Mounts           []MountSetting
	// FixedIPs are the IPv4 addresses that Docker was told to give it. ChosenIP
	// says that Docker chooses one at each start.
	FixedIPs []netip.Addr
	ChosenIP bool
	// What restricts it beside capabilities.
	SecurityOpt                []string
	MaskedPaths, ReadonlyPaths []string
	// MemoryLimit is in bytes, with the swap space that goes with it; 0 for none.
	MemoryLimit, MemoryAndSwapLimit int64
}

// MountSetting is a mount that the user or the image asked for.
type MountSetting struct {
	Type        string // bind, volume or tmpfs
	Destination string
	Source      string // on the host; empty for a tmpfs
	Name        string // of a volume
	ReadOnly    bool
}

func settings(r container.InspectResponse) Settings {
	h := r.HostConfig
	s := Settings{
		Hostname: r.Config.Hostname, User: r.Config.User,
		CapAdd: capabilities(h.CapAdd), CapDrop: capabilities(h.CapDrop),
		Privileged: h.Privileged, ReadOnly: h.ReadonlyRootfs, Init: h.Init != nil && *h.Init,
		MemoryLimit: h.Memory, MemoryAndSwapLimit: max(h.MemorySwap, 0), // -1 is without a limit
		IPCMode: string(h.IpcMode), UTSMode: string(h.UTSMode),
		SecurityOpt: h.SecurityOpt, MaskedPaths: h.MaskedPaths, ReadonlyPaths: h.ReadonlyPaths,
	}
	for port, bindings := range h.PortBindings {
		for _, b := range bindings {
			at := b.HostPort + "->" + string(port)
			if b.HostIP != "" {
				at = b.HostIP + ":" + at
			}
			s.Ports = append(s.Ports, at)
		}
	}
	slices.Sort(s.Ports)
	for _, m := range r.Mounts {
		s.Mounts = append(s.Mounts, MountSetting{
			Type: string(m.Type), Destination: inRoot("", m.Destination), Source: m.Source, Name: m.Name, ReadOnly: !m.RW,
		})
	}
	// What --tmpfs asks for is not among the mounts of an inspection.
	for path, options := range h.Tmpfs {
		s.Mounts = append(s.Mounts, MountSetting{
			Type: string(mount.TypeTmpfs), Destination: inRoot("", path), ReadOnly: slices.Contains(strings.Split(options, ","), "ro"),
		})
	}
	slices.SortFunc(s.Mounts, func(a, b MountSetting) int { return strings.Compare(a.Destination, b.Destination) })
	if !h.NetworkMode.IsNone() {
		for _, n := range r.NetworkSettings.Networks {
			if n.IPAMConfig == nil || n.IPAMConfig.IPv4Address == "" {
				s.ChosenIP = true
			} else if ip, err := netip.ParseAddr(n.IPAMConfig.IPv4Address); err == nil {
				s.FixedIPs = append(s.FixedIPs, ip)
			}
		}
	}
	return s
}

// capabilities returns the names as capabilities(7) has them, without CAP_.
func capabilities(names []string) []string {
	var list []string
	for _, n := range names {
		list = append(list, strings.TrimPrefix(strings.ToUpper(n), "CAP_"))
	}
	slices.Sort(list)
	return slices.Compact(list)
}
