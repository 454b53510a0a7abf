package linux

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/moby/sys/mountinfo"
)

// Cgroups are those of a process.
type Cgroups struct {
	Mode string // v1, hybrid or v2
	List []Cgroup
}

// Cgroup is one line of /proc/PID/cgroup.
type Cgroup struct{ Controllers, Path string }

// ReadCgroups returns the cgroups of a process.
func ReadCgroups(pid int) (Cgroups, error) {
	data, err := os.ReadFile(proc(pid, "cgroup"))
	if err != nil {
		return Cgroups{}, err
	}
	return parseCgroups(string(data)), nil
}

// parseCgroups reads /proc/PID/cgroup, see cgroups(7).
func parseCgroups(text string) Cgroups {
	var list []Cgroup
	v1, v2 := false, false
	for line := range strings.Lines(text) {
		parts := strings.SplitN(strings.TrimRight(line, "\n"), ":", 3)
		if len(parts) != 3 {
			continue
		}
		if parts[0] == "0" && parts[1] == "" {
			v2 = true
		} else {
			v1 = true
		}
		list = append(list, Cgroup{Controllers: parts[1], Path: parts[2]})
	}
	switch {
	case v1 && v2:
		return Cgroups{Mode: "hybrid", List: list}
	case v2:
		return Cgroups{Mode: "v2", List: list}
	default:
		return Cgroups{Mode: "v1", List: list}
	}
}

// Path returns the path of the cgroup that freezes the process: v2's, or on v1
// the freezer's; empty when there is none.
func (c Cgroups) Path() string {
	if c.Mode == "v2" {
		return c.path(unified)
	}
	return c.path(freezerController)
}

// Controllers of cgroups v1, and what v2 has in their place.
const (
	freezerController = "freezer"
	memoryController  = "memory"
	cpusetController  = "cpuset"
	unified           = ""
)

func (c Cgroups) path(controller string) string {
	for _, g := range c.List {
		if slices.Contains(strings.Split(g.Controllers, ","), controller) {
			return g.Path
		}
	}
	return ""
}

// FreezerDir returns the directory on the host of the cgroup that freezes the
// process. If its path has the name in it, that is the cgroup so named: those
// below, as systemd makes them, are frozen with it. It is an error if none is
// mounted here.
func (c Cgroups) FreezerDir(name string) (string, error) {
	dir, _, err := c.mounted(freezerController, name)
	return dir, err
}

// MemoryFile returns the file on the host that says how many bytes of memory the
// cgroup uses, as FreezerDir returns the directory.
func (c Cgroups) MemoryFile(name string) (string, error) {
	dir, v2, err := c.mounted(memoryController, name)
	if v2 {
		return filepath.Join(dir, "memory.current"), err
	}
	return filepath.Join(dir, "memory.usage_in_bytes"), err
}

// CPUs returns those that the tasks of the cgroup may run on, as cpuset(7) writes them: all
// of the machine where cpusets are not in use.
func (c Cgroups) CPUs(name string) (string, error) {
	dir, _, err := c.mounted(cpusetController, name)
	if err != nil {
		dir = "/"
	}
	// Where the controller is not enabled, v2 has no file, and the parent's counts.
	for ; dir != "/"; dir = filepath.Dir(dir) {
		for _, file := range [...]string{"cpuset.cpus.effective", "cpuset.effective_cpus", "cpuset.cpus"} { // v2, v1, v1 before Linux 4.1
			if text, err := os.ReadFile(filepath.Join(dir, file)); err == nil {
				return strings.TrimSpace(string(text)), nil
			}
		}
	}
	text, err := os.ReadFile("/sys/devices/system/cpu/online")
	return strings.TrimSpace(string(text)), err
}

// IsHierarchy says whether a mount is one of the cgroup v1 hierarchy with these
// controllers, as /proc/PID/cgroup writes them: "cpu,cpuacct", or "name=systemd".
func IsHierarchy(m *mountinfo.Info, controllers string) bool {
	has := strings.Split(m.VFSOptions, ",")
	return m.FSType == "cgroup" &&
		!slices.ContainsFunc(strings.Split(controllers, ","), func(name string) bool { return !slices.Contains(has, name) })
}

// mounted returns the directory of the process's cgroup with a controller, and whether it
// is one of v2: a process has a cgroup in hierarchies of v1, too, that are not mounted.
func (c Cgroups) mounted(controller, name string) (dir string, v2 bool, err error) {
	list, err := mountinfo.GetMounts(nil)
	if err != nil {
		return "", false, err
	}
	return c.among(list, controller, name)
}

func (c Cgroups) among(list []*mountinfo.Info, controller, name string) (dir string, v2 bool, err error) {
	if dir = c.dir(list, controller, name); dir == "" {
		dir, v2 = c.dir(list, unified, name), true
	}
	if dir == "" {
		err = fmt.Errorf("no %s cgroup is mounted here", controller)
	}
	return dir, v2, err
}

func (c Cgroups) dir(list []*mountinfo.Info, controller, name string) string {
	path := upTo(c.path(controller), name)
	for _, m := range list {
		fits := m.FSType == "cgroup2"
		if controller != unified {
			fits = IsHierarchy(m, controller)
		}
		// On a host that is a container itself a part of the tree is mounted.
		if below, err := filepath.Rel(m.Root, path); fits && err == nil && !strings.HasPrefix(below, "..") {
			return filepath.Join(m.Mountpoint, below)
		}
	}
	return ""
}

// upTo cuts a path behind the element that has the name in it.
func upTo(path, name string) string {
	if i := strings.Index(path, name); i >= 0 && name != "" {
		if end := strings.Index(path[i:], "/"); end >= 0 {
			return path[:i+end]
		}
	}
	return path
}
