package docker

import (
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/checkpointctl/checkpointctl/internal/linux"
)

// spec is the part of an OCI config.json that is read here.
type spec struct {
	Root struct {
		Path string `json:"path"`
	} `json:"root"`
	Mounts []specMount `json:"mounts"`
}

type specMount struct {
	Destination string   `json:"destination"`
	Type        string   `json:"type"`
	Source      string   `json:"source"`
	Options     []string `json:"options"`
}

func (m specMount) isBind() bool {
	return m.Type == "bind" || slices.Contains(m.Options, "bind") || slices.Contains(m.Options, "rbind")
}

// bundleRoots are where containerd's runtime v2 keeps Docker's bundles unless
// told otherwise: under the containerd that dockerd starts, or the system's.
var bundleRoots = [...]string{
	"/run/docker/containerd/daemon/io.containerd.runtime.v2.task/moby",
	"/run/containerd/io.containerd.runtime.v2.task/moby",
}

// findBundle returns the OCI bundle of a running container and its config;
// both are empty when it is found nowhere.
func findBundle(id string, pid int) (string, spec) {
	dirs := []string{shimDir(pid)}
	for _, root := range bundleRoots {
		dirs = append(dirs, filepath.Join(root, id))
	}
	for _, dir := range dirs {
		data, err := os.ReadFile(filepath.Join(dir, "config.json"))
		if filepath.Base(dir) != id || err != nil {
			continue
		}
		var s spec
		if json.Unmarshal(data, &s) == nil {
			return dir, s
		}
	}
	return "", spec{}
}

// otherContainers are the init processes of those whose bundles lie beside
// this one's.
func otherContainers(bundle string) []linux.Process {
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

// shimDir is the working directory of the container's parent, containerd's
// shim, which runs in the bundle: true whatever exec-root the daemon has.
func shimDir(pid int) string { return linux.WorkingDir(linux.Parent(pid)) }
