package podman

import (
	"cmp"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/checkpointctl/checkpointctl/internal/metadata"
)

// created is the part of what Docker created the container with that Podman has a word
// for, too (docker.json).
type created struct {
	Config struct {
		User, StopSignal string
		OpenStdin        bool
		Cmd, Entrypoint  []string
		Labels           map[string]string
		StopTimeout      *uint
		Healthcheck      json.RawMessage
	} `json:"config"`
	HostConfig struct {
		Privileged                             bool
		Init                                   *bool
		IPCMode, PIDMode, UTSMode, NetworkMode string
		ShmSize                                int64
		ExtraHosts, DNS, DNSOptions, DNSSearch []string
		PortBindings                           map[string][]struct{ HostIP, HostPort string }
		RestartPolicy                          struct {
			Name              string
			MaximumRetryCount uint
		}
	} `json:"host_config"`
}

// config is config.dump: of ContainerConfig in Podman's libpod/container_config.go what
// a container of Docker can have. Podman fills in the rest when it restores.
type config struct {
	ID              string             `json:"id"`
	Name            string             `json:"name"`
	RootfsImageID   string             `json:"rootfsImageID"`
	RootfsImageName string             `json:"rootfsImageName"`
	RootfsImage     string             `json:"rootfsImage"` // that other programs show
	ShmSize         int64              `json:"shmSize"`
	NamedVolumes    []volume           `json:"namedVolumes,omitempty"`
	Passwd          bool               `json:"passwd"` // that Podman may change /etc/passwd
	Privileged      bool               `json:"privileged"`
	User            string             `json:"user,omitempty"`
	CreateNetNS     bool               `json:"createNetNS"`
	Networks        map[string]joining `json:"newNetworks,omitempty"`
	NetworkMode     string             `json:"networkMode"`
	Ports           []port             `json:"newPortMappings,omitempty"`
	DNSServer       []string           `json:"dnsServer,omitempty"`
	DNSSearch       []string           `json:"dnsSearch,omitempty"`
	DNSOption       []string           `json:"dnsOption,omitempty"`
	HostAdd         []string           `json:"hostsAdd,omitempty"`
	Entrypoint      []string           `json:"entrypoint,omitempty"`
	Command         []string           `json:"command,omitempty"`
	Stdin           bool               `json:"stdin,omitempty"`
	Labels          map[string]string  `json:"labels,omitempty"`
	StopSignal      uint               `json:"stopSignal"`
	StopTimeout     uint               `json:"stopTimeout"`
	CreatedTime     time.Time          `json:"createdTime"`
	CheckpointedAt  time.Time          `json:"checkpointedTime"`
	LogDriver       string             `json:"logDriver"`
	RestartPolicy   string             `json:"restart_policy,omitempty"`
	RestartRetries  uint               `json:"restart_retries,omitempty"`
	// Runtime is the one that Podman restores with, whatever its default is.
	Runtime     string          `json:"runtime"`
	HealthCheck json.RawMessage `json:"healthcheck,omitempty"`
}

type volume struct {
	Name    string   `json:"volumeName"`
	Dest    string   `json:"dest"`
	Options []string `json:"options,omitempty"`
}

type joining struct {
	InterfaceName string `json:"interface_name"`
}

type port struct {
	HostIP        string `json:"host_ip"`
	ContainerPort uint16 `json:"container_port"`
	HostPort      uint16 `json:"host_port"`
	Range         uint16 `json:"range"`
	Protocol      string `json:"protocol"`
}

const (
	defaultNetwork = "podman"
	defaultStop    = 10 // seconds, as in Docker
)

// configure writes the configuration. Ports that Docker chose anew at each start are
// left out: they are returned.
func configure(r metadata.Record, c created, ownNet bool) (config, []string) {
	out := config{
		ID: r.ID, Name: r.Name, RootfsImageID: strings.TrimPrefix(r.ImageDigest, "sha256:"), RootfsImageName: imageName(r), RootfsImage: r.ImageDigest,
		ShmSize: c.HostConfig.ShmSize, Privileged: c.HostConfig.Privileged, User: c.Config.User, NetworkMode: "host",
		DNSServer: c.HostConfig.DNS, DNSSearch: c.HostConfig.DNSSearch, DNSOption: c.HostConfig.DNSOptions, HostAdd: c.HostConfig.ExtraHosts,
		Entrypoint: c.Config.Entrypoint, Command: c.Config.Cmd, Stdin: c.Config.OpenStdin, Labels: c.Config.Labels,
		StopSignal: signal(c.Config.StopSignal), StopTimeout: defaultStop, CreatedTime: r.StartedAt.UTC(), CheckpointedAt: r.Timestamp.UTC(),
		LogDriver: "k8s-file", RestartPolicy: c.HostConfig.RestartPolicy.Name, RestartRetries: c.HostConfig.RestartPolicy.MaximumRetryCount,
		Runtime: "runc", HealthCheck: c.Config.Healthcheck,
	}
	if c.Config.StopTimeout != nil {
		out.StopTimeout = *c.Config.StopTimeout
	}
	if !ownNet {
		return out, nil
	}
	out.CreateNetNS, out.NetworkMode, out.Networks = true, "bridge", map[string]joining{defaultNetwork: {"eth0"}}
	var left []string
	for at, bindings := range c.HostConfig.PortBindings {
		for _, b := range bindings {
			if p, ok := mapping(at, b.HostIP, b.HostPort); ok {
				out.Ports = append(out.Ports, p)
			} else {
				left = append(left, at)
			}
		}
	}
	slices.SortFunc(out.Ports, func(a, b port) int {
		return cmp.Or(cmp.Compare(a.ContainerPort, b.ContainerPort), cmp.Compare(a.HostPort, b.HostPort), cmp.Compare(a.Protocol, b.Protocol))
	})
	slices.Sort(left)
	return out, left
}

// mapping is a published port, as in 80/tcp. It is false if the port of the host is
// not one number.
func mapping(at, hostIP, hostPort string) (port, bool) {
	number, protocol, _ := strings.Cut(at, "/")
	inside, err := strconv.ParseUint(number, 10, 16)
	outside, hostErr := strconv.ParseUint(hostPort, 10, 16)
	if err != nil || hostErr != nil || outside == 0 {
		return port{}, false
	}
	return port{hostIP, uint16(inside), uint16(outside), 1, cmp.Or(protocol, "tcp")}, true
}

// signal is the number of SIGTERM, TERM or 15.
func signal(name string) uint {
	if n, err := strconv.ParseUint(name, 10, 8); err == nil {
		return uint(n)
	}
	if n := unix.SignalNum("SIG" + strings.TrimPrefix(strings.ToUpper(name), "SIG")); n > 0 {
		return uint(n)
	}
	return uint(unix.SIGTERM)
}

// imageName is what Podman looks the image up by: its name, or its ID for a container
// that was made of an ID.
func imageName(r metadata.Record) string {
	id := strings.TrimPrefix(r.ImageDigest, "sha256:")
	if ref := strings.TrimPrefix(r.Image, "sha256:"); ref == "" || strings.HasPrefix(id, ref) {
		return id
	}
	return r.Image
}

// encoded is a document as Podman writes it.
func encoded(v any) ([]byte, error) {
	data, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		return nil, fmt.Errorf("encoding: %w", err)
	}
	return append(data, '\n'), nil
}
