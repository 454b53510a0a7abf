package main

import (
	"fmt"
	"maps"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"github.com/moby/sys/mountinfo"
	"golang.org/x/sys/unix"

	"github.com/checkpointctl/checkpointctl/internal/linux"
)

// cgroups are what CRIU must know of the container's.
type cgroups struct {
	mounts map[string]string // see linux.CgroupMounts
	root   string            // of the container's on v2, empty on v1
	shown  map[string]string // on v1: the container's cgroups on the host, by where it has them mounted
}

// findCgroups returns them for a container that is about to be created.
func (c call) findCgroups() (found cgroups, err error) {
	if found.mounts, err = linux.CgroupMounts(); err != nil {
		return found, err
	}
	own, err := linux.ReadCgroups(os.Getpid())
	if err != nil {
		return found, err
	}
	var spec cgroupSpec
	if err := readSpec(linux.Option(c.rest, "--bundle"), &spec); err != nil {
		return found, err
	}
	dir, err := cgroupPath(spec.Linux.CgroupsPath, slices.Contains(c.globals, "--systemd-cgroup"))
	if err != nil {
		return found, err
	}
	if own.Mode == "v2" {
		found.root = dir
		return found, nil
	}
	hierarchies, err := mountinfo.GetMounts(mountinfo.FSTypeFilter("cgroup"))
	found.shown = spec.shown(hierarchies, dir)
	return found, err
}

// cgroupSpec is what config.json says of cgroups.
type cgroupSpec struct {
	Mounts []struct {
		Destination string `json:"destination"`
		Type        string `json:"type"`
	} `json:"mounts"`
	Linux struct {
		CgroupsPath string `json:"cgroupsPath"`
	} `json:"linux"`
}

// joined are the hierarchies of v1 in which every runc makes a cgroup for a container.
var joined = []string{"cpuset", "devices", "memory", "cpu", "cpuacct", "pids", "blkio", "hugetlb", "net_cls", "net_prio", "perf_event", "freezer", "name=systemd"}

// shown maps where a container has the hierarchies mounted to its own cgroups below dir.
func (s cgroupSpec) shown(hierarchies []*mountinfo.Info, dir string) map[string]string {
	shown := map[string]string{}
	for _, m := range s.Mounts {
		if m.Type != "cgroup" {
			continue
		}
		for _, h := range hierarchies {
			known := slices.ContainsFunc(strings.Split(h.VFSOptions, ","), func(name string) bool { return slices.Contains(joined, name) })
			if known && h.Root == "/" {
				shown[filepath.Join(m.Destination, filepath.Base(h.Mountpoint))] = filepath.Join(h.Mountpoint, dir)
			}
		}
	}
	return shown
}

// config returns lines of CRIU's configuration. On v2 runc does not tell CRIU which
// cgroup the container has, as it does on v1 (criuApplyCgroups in
// libcontainer/criu_linux.go, 1.1 to 1.4). CRIU would make the one that was dumped,
// which is another container's if this one was made from a checkpoint, and restore the
// tasks into that. On v1 a restore by runc shows the container runc's own cgroups, and not
// at all what it mounts in a cgroup namespace (getCgroupMounts in
// libcontainer/rootfs_linux.go, 1.1 to 1.5). CRIU takes the first that it is told for a
// mount, and what is configured before what runc tells it.
func (c cgroups) config(yard string) []string {
	var lines []string
	if c.mounts != nil {
		lines = append(lines, "cgroup-yard "+yard)
	}
	if c.root != "" {
		lines = append(lines, "cgroup-root "+c.root)
	}
	for _, at := range slices.Sorted(maps.Keys(c.shown)) {
		lines = append(lines, fmt.Sprintf("external mnt[%s]:%s", at, c.shown[at]))
	}
	return lines
}

// bind makes the directory that config names, in the mount namespace of the caller.
func (c cgroups) bind(yard string) error {
	for name, mounted := range c.mounts {
		at := filepath.Join(yard, name)
		if err := os.MkdirAll(at, 0o700); err != nil {
			return err
		}
		if err := unix.Mount(mounted, at, "", unix.MS_BIND, ""); err != nil {
			return fmt.Errorf("binding %s: %w", mounted, err)
		}
	}
	return nil
}

// cgroupPath returns where runc puts a container on cgroup v2: cgroupsPath of its
// config.json itself, or of SLICE:PREFIX:NAME the scope that it has systemd make
// (getUnitName and ExpandSlice in runc's cgroups/systemd).
func cgroupPath(cgroupsPath string, systemd bool) (string, error) {
	if !systemd {
		if !path.IsAbs(cgroupsPath) {
			return "", fmt.Errorf("the cgroup %q is not an absolute path", cgroupsPath)
		}
		return path.Clean(cgroupsPath), nil
	}
	parts := strings.Split(cgroupsPath, ":")
	if len(parts) != 3 || parts[2] == "" {
		return "", fmt.Errorf("the cgroup %q is not SLICE:PREFIX:NAME", cgroupsPath)
	}
	slice, prefix, unit := parts[0], parts[1], parts[2]
	if slice == "" {
		slice = "system.slice"
	}
	if !strings.HasSuffix(unit, ".slice") {
		if prefix != "" {
			unit = prefix + "-" + unit
		}
		unit += ".scope"
	}
	dir := "/"
	if slice != "-.slice" { // the root
		name := strings.TrimSuffix(slice, ".slice")
		for i, c := range name + "-" { // a-b.slice lies in a.slice
			if c == '-' {
				dir = path.Join(dir, name[:i]+".slice")
			}
		}
	}
	return path.Join(dir, unit), nil
}
