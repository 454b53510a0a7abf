package linux

import (
	"errors"
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
	for _, g := range c.List {
		if c.Mode == "v2" || slices.Contains(strings.Split(g.Controllers, ","), "freezer") {
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
	list, err := mountinfo.GetMounts(nil)
	if err != nil {
		return "", err
	}
	return c.freezerDir(list, name)
}

func (c Cgroups) freezerDir(list []*mountinfo.Info, name string) (string, error) {
	path := upTo(c.Path(), name)
	for _, m := range list {
		fits := m.FSType == "cgroup2"
		if c.Mode != "v2" {
			fits = m.FSType == "cgroup" && slices.Contains(strings.Split(m.VFSOptions, ","), "freezer")
		}
		// On a host that is a container itself a part of the tree is mounted.
		if below, err := filepath.Rel(m.Root, path); fits && err == nil && !strings.HasPrefix(below, "..") {
			return filepath.Join(m.Mountpoint, below), nil
		}
	}
	return "", errors.New("no freezer cgroup is mounted here")
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

// Freezer is a cgroup that freezes and thaws the tasks in it.
type Freezer struct {
	dir string
	v2  bool
}

// Freezer returns the freezer of FreezerDir. It is an error, too, if that does
// not go by the name: then it is also others'.
func (c Cgroups) Freezer(name string) (Freezer, error) {
	dir, err := c.FreezerDir(name)
	if err == nil && (name == "" || !strings.Contains(dir, name)) {
		err = fmt.Errorf("cgroup %s is not of %s alone", dir, name)
	}
	return Freezer{dir: dir, v2: c.Mode == "v2"}, err
}

// File is the one that holds the state of the freezer.
func (f Freezer) File() string {
	if f.v2 {
		return filepath.Join(f.dir, "cgroup.freeze")
	}
	return filepath.Join(f.dir, "freezer.state")
}

// Freeze asks the kernel to freeze the tasks, and does not wait for it.
func (f Freezer) Freeze() error {
	if f.v2 {
		return f.write("1")
	}
	return f.write("FROZEN")
}

func (f Freezer) thawed() string {
	if f.v2 {
		return "0"
	}
	return "THAWED"
}

// Thaw lets the tasks run on.
func (f Freezer) Thaw() error { return f.write(f.thawed()) }

// Frozen says whether the tasks are frozen, or on their way to it.
func (f Freezer) Frozen() bool {
	data, err := os.ReadFile(f.File())
	return err == nil && strings.TrimSpace(string(data)) != f.thawed()
}

// write creates nothing: cgroups are often mounted on a tmpfs.
func (f Freezer) write(state string) error {
	file, err := os.OpenFile(f.File(), os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	_, err = file.WriteString(state)
	return errors.Join(err, file.Close())
}
