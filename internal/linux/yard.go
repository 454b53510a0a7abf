package linux

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/moby/sys/mountinfo"
)

// yardDir does not survive a reboot, and only root can look into it.
const yardDir = "/run/checkpointctl/cgroups"

// CgroupMounts returns where the cgroup hierarchies of this host are mounted, by the
// names that CRIU looks for in the directory of its option --cgroup-yard. Without that
// option CRIU mounts them anew, and the host's cgroup2 loses its mount options by that
// (checkpoint-restore/criu#3029). Nil is returned where a hierarchy is not mounted as a
// whole: CRIU has to mount it then.
func CgroupMounts() (map[string]string, error) {
	own, err := ReadCgroups(os.Getpid())
	if err != nil {
		return nil, err
	}
	list, err := mountinfo.GetMounts(nil)
	return own.yard(list), err
}

// CgroupYard returns a directory with links to what CgroupMounts returns, for a dump;
// empty if that is nil. CRIU restores from the root of the container, where links would
// lead elsewhere.
func CgroupYard() (string, error) {
	links, err := CgroupMounts()
	if links == nil || err != nil {
		return "", err
	}
	if err := os.MkdirAll(yardDir, 0o700); err != nil {
		return "", err
	}
	for name, target := range links {
		err = errors.Join(err, link(filepath.Join(yardDir, name), target))
	}
	return yardDir, err
}

// yard maps the names of CRIU (ctrl_dir_and_opt in criu/cgroup.c) to where the
// hierarchies are mounted; nil if one is not.
func (c Cgroups) yard(list []*mountinfo.Info) map[string]string {
	links := map[string]string{}
	for _, g := range c.List {
		i := slices.IndexFunc(list, func(m *mountinfo.Info) bool {
			fits := m.FSType == "cgroup2"
			if g.Controllers != "" {
				fits = IsHierarchy(m, g.Controllers)
			}
			return fits && m.Root == "/"
		})
		if i < 0 {
			return nil
		}
		name := strings.TrimPrefix(g.Controllers, "name=")
		if name == "" {
			name = "unified"
		}
		links[name] = list[i].Mountpoint
	}
	return links
}

// link makes or corrects a symbolic link, which others may do at the same time.
func link(path, target string) error {
	if now, err := os.Readlink(path); err == nil && now == target {
		return nil
	}
	dir, err := os.MkdirTemp(filepath.Dir(path), ".new-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	made := filepath.Join(dir, "link")
	return errors.Join(os.Symlink(target, made), os.Rename(made, path))
}
