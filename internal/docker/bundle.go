package docker

import (
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
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
	Options     []string `json:"options"`
}

func (m specMount) isBind() bool {
	return m.Type == "bind" || slices.Contains(m.Options, "bind") || slices.Contains(m.Options, "rbind")
}

// bundleRoots are where containerd's runtime v2 keeps Docker's bundles: under
// the containerd that dockerd started itself, or the system's.
var bundleRoots = [...]string{
	"/run/docker/containerd/daemon/io.containerd.runtime.v2.task/moby",
	"/run/containerd/io.containerd.runtime.v2.task/moby",
}

// findBundle returns the OCI bundle of a running container and its config;
// both are empty when neither layout has it.
func findBundle(id string) (string, spec) {
	for _, root := range bundleRoots {
		dir := filepath.Join(root, id)
		data, err := os.ReadFile(filepath.Join(dir, "config.json"))
		if err != nil {
			continue
		}
		var s spec
		if json.Unmarshal(data, &s) == nil {
			return dir, s
		}
	}
	return "", spec{}
}
