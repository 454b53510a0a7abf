// Package mounts decides, from a container's real mount table, what CRIU does
// with each mount. It is pure: nothing here touches the system.
package mounts

import (
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/moby/sys/mountinfo"
)

// Mount is one line of /proc/PID/mountinfo, see proc_pid_mountinfo(5). Paths
// are as the container sees them.
type Mount struct {
	ID      int
	Parent  int
	Root    string
	Path    string
	FSType  string
	Source  string
	Options string
	// Shared and Master are the peer groups that changes go to and come from; 0 for
	// none.
	Shared, Master int
	// ReadOnly says that the filesystem is, not only this mount of it.
	ReadOnly bool
}

// Parse reads a mountinfo table. Octal escapes in paths are undone.
func Parse(r io.Reader) ([]Mount, error) {
	infos, err := mountinfo.GetMountsFromReader(r, nil)
	if err != nil {
		return nil, fmt.Errorf("parsing mountinfo: %w", err)
	}
	list := make([]Mount, 0, len(infos))
	for _, i := range infos {
		if !strings.HasPrefix(i.Mountpoint, "/") {
			return nil, fmt.Errorf("parsing mountinfo: mount %d at %q, which is no path", i.ID, i.Mountpoint)
		}
		m := Mount{
			ID: i.ID, Parent: i.Parent, Root: i.Root, Path: i.Mountpoint,
			FSType: i.FSType, Source: i.Source, Options: i.Options,
			ReadOnly: slices.Contains(strings.Split(i.VFSOptions, ","), "ro"),
		}
		for _, field := range strings.Fields(i.Optional) {
			_, _ = fmt.Sscanf(field, "shared:%d", &m.Shared)
			_, _ = fmt.Sscanf(field, "master:%d", &m.Master)
		}
		list = append(list, m)
	}
	return list, nil
}
