package podman

import (
	"bytes"
	"encoding/json"
	"fmt"
	"path"
	"slices"

	"github.com/checkpointctl/checkpointctl/internal/metadata"
)

// volumesDir is where Podman has its volumes if it is root's and not told otherwise. Its
// own archives rely on that, too: a restore does not settle the source anew.
const volumesDir = "/var/lib/containers/storage/volumes"

// spec is an OCI configuration, of which what is not changed stays as it is.
type spec struct {
	all    map[string]json.RawMessage
	linux  map[string]json.RawMessage
	mounts []mount
}

type mount struct {
	Destination string   `json:"destination"`
	Type        string   `json:"type,omitempty"`
	Source      string   `json:"source,omitempty"`
	Options     []string `json:"options,omitempty"`
}

func (m mount) isBind() bool {
	return m.Type == "bind" || slices.Contains(m.Options, "bind") || slices.Contains(m.Options, "rbind")
}

type namespace struct {
	Type string `json:"type"`
	Path string `json:"path,omitempty"`
}

func parseSpec(data []byte) (spec, error) {
	var s spec
	err := json.Unmarshal(data, &s.all)
	if err == nil {
		err = json.Unmarshal(s.all["linux"], &s.linux)
	}
	if err == nil {
		err = json.Unmarshal(s.all["mounts"], &s.mounts)
	}
	return s, err
}

// namespaces returns them by type, and with the path of those of others.
func (s spec) namespaces() (map[string]string, error) {
	var list []namespace
	if err := json.Unmarshal(s.linux["namespaces"], &list); err != nil {
		return nil, err
	}
	out := map[string]string{}
	for _, n := range list {
		out[n.Type] = n.Path
	}
	return out, nil
}

// devices are those that the runtime makes, by their paths.
func (s spec) devices() []string {
	var list []struct{ Path string }
	_ = json.Unmarshal(s.linux["devices"], &list) // there may be none
	var paths []string
	for _, d := range list {
		paths = append(paths, d.Path)
	}
	return paths
}

// podmans are the files that Podman binds into each container, as Docker does.
var podmans = [...]string{"/etc/hosts", "/etc/resolv.conf", "/etc/hostname", shm}

const shm = "/dev/shm"

// convert makes it Podman's. It returns the volumes, the mounts of paths of the host, and
// what Podman cannot mount.
func (s *spec) convert(r metadata.Record) (volumes []volume, binds, refused []string) {
	asked := map[string]metadata.MountSetting{}
	for _, m := range r.Settings.Mounts {
		asked[path.Clean(m.Destination)] = m
	}
	var kept []mount
	for _, m := range s.mounts {
		at := path.Clean(m.Destination)
		by, isAsked := asked[at]
		switch {
		case !m.isBind():
			kept = append(kept, m)
		case isAsked && by.Type == "volume":
			if _, has := r.Part(metadata.PartVolume + by.Name); !has {
				refused = append(refused, fmt.Sprintf("volume %s at %s is not in the checkpoint: take it with --volumes", by.Name, at))
			}
			// Podman would copy the image's files into it.
			volumes = append(volumes, volume{by.Name, at, append(slices.Clone(m.Options), "nocopy")})
			m.Source = path.Join(volumesDir, by.Name, "_data")
			kept = append(kept, m)
		case isAsked && by.Type == "bind":
			binds = append(binds, m.Source)
			kept = append(kept, m)
		case slices.Contains(podmans[:], at):
		default:
			refused = append(refused, fmt.Sprintf("%s is a mount that only Docker makes", at))
		}
	}
	s.mounts = kept
	return volumes, binds, refused
}

// external returns the mounts of the images that are provided from outside and that
// nothing in the new container provides.
func (s spec) external(r metadata.Record) (missing []string) {
	provided := append(s.devices(), podmans[:]...)
	for _, m := range s.mounts {
		if m.isBind() {
			provided = append(provided, path.Clean(m.Destination))
		}
	}
	for _, m := range r.Mounts {
		if m.Action != "external" || m.Value == "/dev/null" || m.FSType == "cgroup" || slices.Contains(provided, m.Path) {
			continue
		}
		missing = append(missing, m.Path+" is a mount that Podman does not make")
	}
	return missing
}

// encode writes it, without what is of Docker and of this host: its hooks, the path of
// its root, its cgroup and its network namespace.
func (s spec) encode(stop uint) ([]byte, error) {
	var root map[string]json.RawMessage
	var list []namespace
	annotations := map[string]string{}
	err := json.Unmarshal(s.all["root"], &root)
	if err == nil {
		err = json.Unmarshal(s.linux["namespaces"], &list)
	}
	if err == nil && s.all["annotations"] != nil {
		err = json.Unmarshal(s.all["annotations"], &annotations)
	}
	if err != nil {
		return nil, err
	}
	for i := range list {
		list[i].Path = ""
	}
	annotations["io.container.manager"] = "libpod"
	annotations["org.opencontainers.image.stopSignal"] = fmt.Sprint(stop)
	delete(s.all, "hooks")
	delete(s.linux, "cgroupsPath")
	for _, to := range []struct {
		in  map[string]json.RawMessage
		key string
		v   any
	}{
		{root, "path", "rootfs"}, {s.all, "root", root}, {s.linux, "namespaces", list}, {s.all, "linux", s.linux},
		{s.all, "mounts", s.mounts}, {s.all, "annotations", annotations},
	} {
		data, err := json.Marshal(to.v)
		if err != nil {
			return nil, err
		}
		to.in[to.key] = data
	}
	data, err := json.Marshal(s.all)
	if err != nil {
		return nil, err
	}
	var out bytes.Buffer
	err = json.Indent(&out, data, "", "  ")
	out.WriteByte('\n')
	return out.Bytes(), err
}
