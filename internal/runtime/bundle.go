// Package runtime knows the files of the OCI runtime below Docker: the bundles
// that containerd makes for runc, and runc's own state. It is for small programs,
// too: it needs neither Docker's API nor settings.
package runtime

import (
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/checkpointctl/checkpointctl/internal/linux"
)

// Config is the part of an OCI bundle's config.json that is read here.
type Config struct {
	Root struct {
		Path string `json:"path"`
	} `json:"root"`
	Mounts []Mount `json:"mounts"`
}

// Mount is one that the runtime makes in a container.
type Mount struct {
	Destination string   `json:"destination"`
	Type        string   `json:"type"`
	Source      string   `json:"source"`
	Options     []string `json:"options"`
}

// IsBind says whether the mount shows a file or directory of the host.
func (m Mount) IsBind() bool {
	return m.Type == "bind" || slices.Contains(m.Options, "bind") || slices.Contains(m.Options, "rbind")
}

// bundleRoots are where containerd's runtime v2 keeps Docker's bundles unless
// told otherwise: under the containerd that dockerd starts, or the system's.
var bundleRoots = [...]string{
	"/run/docker/containerd/daemon/io.containerd.runtime.v2.task/moby",
	"/run/containerd/io.containerd.runtime.v2.task/moby",
}

// Bundles returns the paths that the bundle of the container with this ID has
// on hosts that are set up as usual, be it there or not.
func Bundles(id string) []string {
	var dirs []string
	for _, root := range bundleRoots {
		dirs = append(dirs, filepath.Join(root, id))
	}
	return dirs
}

// FindBundle returns the OCI bundle of a running container, by its ID and the
// pid of its init process, and the bundle's config. Both are empty when it is
// found nowhere.
func FindBundle(id string, pid int) (string, Config) {
	// The container's parent, containerd's shim, runs in the bundle, whatever
	// exec-root the daemon has.
	shim := linux.WorkingDir(linux.Parent(pid))
	for _, dir := range append([]string{shim}, Bundles(id)...) {
		data, err := os.ReadFile(filepath.Join(dir, "config.json"))
		if filepath.Base(dir) != id || err != nil {
			continue
		}
		var c Config
		if json.Unmarshal(data, &c) == nil {
			return dir, c
		}
	}
	return "", Config{}
}

// Others returns the init processes of the running containers whose bundles lie
// beside this one, named container:ID; none for an empty path.
func Others(bundle string) []linux.Process {
	if bundle == "" {
		return nil
	}
	var list []linux.Process
	entries, _ := os.ReadDir(filepath.Dir(bundle))
	for _, e := range entries {
		if e.Name() == filepath.Base(bundle) {
			continue
		}
		text, _ := os.ReadFile(filepath.Join(filepath.Dir(bundle), e.Name(), "init.pid"))
		if pid, err := strconv.Atoi(strings.TrimSpace(string(text))); err == nil {
			list = append(list, linux.Process{Name: "container:" + e.Name(), PID: pid})
		}
	}
	return list
}
