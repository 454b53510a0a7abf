package archive

import (
	"encoding/json"
	"time"

	"github.com/checkpointctl/checkpointctl/internal/metadata"
)

// What Podman writes of a container beside its images, as far as other tools show
// it. It is made from the record, and never read.

type podmanConfig struct {
	ID              string    `json:"id"`
	Name            string    `json:"name"`
	RootfsImage     string    `json:"rootfsImage,omitempty"`
	RootfsImageName string    `json:"rootfsImageName,omitempty"`
	OCIRuntime      string    `json:"runtime,omitempty"`
	CreatedTime     time.Time `json:"createdTime"`
	CheckpointedAt  time.Time `json:"checkpointedTime"`
}

type spec struct {
	Version     string            `json:"ociVersion"`
	Hostname    string            `json:"hostname,omitempty"`
	Mounts      []specMount       `json:"mounts,omitempty"`
	Annotations map[string]string `json:"annotations"`
}

type specMount struct {
	Destination string `json:"destination"`
	Type        string `json:"type,omitempty"`
	Source      string `json:"source,omitempty"`
}

type podmanNetwork struct {
	Interfaces map[string]podmanInterface `json:"interfaces"`
}

type podmanInterface struct {
	Subnets    []podmanSubnet `json:"subnets"`
	MACAddress string         `json:"mac_address"`
}

type podmanSubnet struct {
	IPNet string `json:"ipnet"`
}

// Annotations returns what other programs know of a checkpoint by annotations:
// those of github.com/checkpoint-restore/checkpointctl/lib.
func Annotations(r metadata.Record) map[string]string {
	return map[string]string{
		"org.criu.checkpoint.container.name":  r.Name,
		"org.criu.checkpoint.engine.name":     "docker",
		"org.criu.checkpoint.engine.version":  r.Versions.Docker,
		"org.criu.checkpoint.criu.version":    r.Versions.CRIU,
		"org.criu.checkpoint.host.arch":       r.Architecture,
		"org.criu.checkpoint.host.kernel":     r.Versions.Kernel,
		"org.criu.checkpoint.runtime.name":    r.Runtime,
		"org.criu.checkpoint.rootfsImageName": r.Image,
	}
}

// foreign returns these entries, by name.
func foreign(r metadata.Record) (map[string][]byte, error) {
	s := spec{Version: "1.0.2", Annotations: Annotations(r)}
	s.Annotations["io.container.manager"] = "libpod" // who asks by it shows addresses, too
	if r.Settings != nil {
		s.Hostname = r.Settings.Hostname
	}
	for _, m := range r.Mounts {
		if m.Path == "/" {
			continue
		}
		s.Mounts = append(s.Mounts, specMount{m.Path, m.FSType, m.Source})
	}
	networks := map[string]podmanNetwork{}
	for _, n := range r.Networks {
		i := podmanInterface{MACAddress: n.MAC, Subnets: []podmanSubnet{}}
		for _, ip := range []string{n.IP, n.IPv6} {
			if ip != "" {
				i.Subnets = append(i.Subnets, podmanSubnet{ip})
			}
		}
		networks[n.Name] = podmanNetwork{map[string]podmanInterface{"eth0": i}}
	}
	out := map[string][]byte{}
	for name, v := range map[string]any{
		configEntry: podmanConfig{
			ID: r.ID, Name: r.Name, RootfsImage: r.ImageDigest, RootfsImageName: r.Image, OCIRuntime: r.Runtime,
			CreatedTime: r.StartedAt.UTC(), CheckpointedAt: r.Timestamp.UTC(),
		},
		specEntry: s, networkEntry: networks,
	} {
		data, err := json.MarshalIndent(v, "", "  ")
		if err != nil {
			return nil, err
		}
		out[name] = append(data, '\n')
	}
	return out, nil
}
