package docker

import (
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/mount"
	"github.com/docker/go-connections/nat"
)

// Change is what shall differ in a container that is made like another.
type Change struct {
	Name    string
	Image   string
	Ports   []string // as docker run -p takes them; nil: as the other one's
	Network string   // empty: the other one's
	IP      string   // in that network
	AnyIP   bool     // that Docker chooses, also where the other one's was fixed
	// Volumes are other names for named volumes, Binds other sources, by destination.
	Volumes, Binds map[string]string
	// Foreign says that the other one is of an archive: nothing is taken of it that
	// reaches out of the container, unless it is accepted.
	Foreign bool
	// Privileges takes privileges of a foreign one, too.
	Privileges bool
	// Accept are ports, labels, annotations and log of a foreign one.
	Accept []string
}

// Acceptable are what Change.Accept may name.
var acceptable = []string{"annotations", "labels", "log", "ports"}

// Acceptable returns what Change.Accept may name.
func Acceptable() []string { return slices.Clone(acceptable) }

// Draft is a container to be made.
type Draft struct {
	Name string `json:"container"`
	// Refused are why it cannot be made, and what is to be said for each.
	Refused []string `json:"-"`
	// Privileges are what it has that a container has not by default.
	Privileges []string `json:"privileges"`
	// Left are what was not taken of a foreign one.
	Left []string `json:"left_out"`
	// Volumes are the names of its named volumes, by destination.
	Volumes map[string]string `json:"volumes"`
	// Renamed are those of Change.Volumes.
	Renamed map[string]bool `json:"-"`

	config   container.Config
	host     container.HostConfig
	network  string // that it is created with
	networks map[string]Joining
}

// Networks returns the names of the networks that it joins.
func (d Draft) Networks() []string {
	var names []string
	for name := range d.networks {
		names = append(names, name)
	}
	if m := d.host.NetworkMode; m.IsUserDefined() && !slices.Contains(names, string(m)) {
		names = append(names, string(m))
	}
	slices.Sort(names)
	return names
}

// Draft returns a container like another, but for the change.
func (c Creation) Draft(id string, to Change) (Draft, error) {
	d := Draft{Name: to.Name, Volumes: map[string]string{}, Renamed: map[string]bool{}, networks: map[string]Joining{}}
	if err := json.Unmarshal(c.Config, &d.config); err != nil {
		return d, fmt.Errorf("config: %w", err)
	}
	if err := json.Unmarshal(c.HostConfig, &d.host); err != nil {
		return d, fmt.Errorf("host_config: %w", err)
	}
	d.privileges()
	if to.Foreign {
		d.sift(to)
	}
	d.config.Image, d.host.ContainerIDFile = to.Image, ""
	d.config.MacAddress = "" //nolint:staticcheck // of old daemons; two containers must not have one
	if err := d.publish(to.Ports); err != nil {
		return d, err
	}
	d.join(c, id, to)
	d.mount(to)
	return d, nil
}

// privileges lists them.
func (d *Draft) privileges() {
	h := &d.host
	add := func(is bool, format string, args ...any) {
		if is {
			d.Privileges = append(d.Privileges, fmt.Sprintf(format, args...))
		}
	}
	add(h.Privileged, "privileged")
	add(len(h.CapAdd) > 0, "cap_add %s", strings.Join(capabilities(h.CapAdd), ", "))
	for _, o := range h.SecurityOpt {
		add(!strings.HasPrefix(o, "no-new-privileges"), "security_opt %.60s", o)
	}
	for _, v := range h.Devices {
		add(true, "device %s", v.PathOnHost)
	}
	add(len(h.DeviceRequests) > 0, "device requests")
	add(len(h.DeviceCgroupRules) > 0, "device cgroup rules")
	add(h.PidMode != "" && !h.PidMode.IsPrivate(), "pid mode %s", h.PidMode)
	add(h.IpcMode.IsHost() || h.IpcMode.IsContainer(), "ipc mode %s", h.IpcMode)
	add(h.UTSMode.IsHost(), "uts mode %s", h.UTSMode)
	add(h.UsernsMode.IsHost(), "userns mode %s", h.UsernsMode)
	add(h.NetworkMode.IsHost() || h.NetworkMode.IsContainer(), "network mode %s", h.NetworkMode)
	add(h.CgroupParent != "", "cgroup parent %s", h.CgroupParent)
	add(len(h.GroupAdd) > 0, "groups %s", strings.Join(h.GroupAdd, ", "))
	add(len(h.VolumesFrom) > 0, "volumes from %s", strings.Join(h.VolumesFrom, ", "))
	for _, path := range unmasked(h.MaskedPaths, leastMasked) {
		add(true, "%s not masked", path)
	}
	for _, path := range unmasked(h.ReadonlyPaths, leastReadOnly) {
		add(true, "%s writable", path)
	}
}

// leastMasked and leastReadOnly are what every Docker hides from containers, of
// those that this program works with. Newer ones hide more.
var (
	leastMasked   = []string{"/proc/acpi", "/proc/asound", "/proc/kcore", "/proc/keys", "/proc/latency_stats", "/proc/sched_debug", "/proc/scsi", "/proc/timer_list", "/proc/timer_stats", "/sys/firmware"}
	leastReadOnly = []string{"/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"}
)

// unmasked returns which of the least are not in a list; nil is Docker's default.
func unmasked(list, least []string) (missing []string) {
	for _, path := range least {
		if list != nil && !slices.Contains(list, path) {
			missing = append(missing, path)
		}
	}
	return missing
}

// sift leaves of a foreign container what stays within it, and what is accepted.
func (d *Draft) sift(to Change) {
	h, c := d.host, d.config
	d.host = container.HostConfig{
		NetworkMode: h.NetworkMode, CapDrop: h.CapDrop, ReadonlyRootfs: h.ReadonlyRootfs, Init: h.Init, ShmSize: h.ShmSize, Tmpfs: h.Tmpfs,
		IpcMode: h.IpcMode, CgroupnsMode: h.CgroupnsMode, RestartPolicy: h.RestartPolicy, Binds: h.Binds, Mounts: h.Mounts, Sysctls: h.Sysctls,
		DNS: h.DNS, DNSOptions: h.DNSOptions, DNSSearch: h.DNSSearch, MaskedPaths: h.MaskedPaths, ReadonlyPaths: h.ReadonlyPaths,
		Resources: container.Resources{
			Memory: h.Memory, MemorySwap: h.MemorySwap, MemoryReservation: h.MemoryReservation, NanoCPUs: h.NanoCPUs, CPUShares: h.CPUShares,
			CPUPeriod: h.CPUPeriod, CPUQuota: h.CPUQuota, PidsLimit: h.PidsLimit, Ulimits: h.Ulimits,
		},
	}
	d.config = container.Config{
		Hostname: c.Hostname, Domainname: c.Domainname, User: c.User, Tty: c.Tty, OpenStdin: c.OpenStdin, StdinOnce: c.StdinOnce,
		AttachStdin: c.AttachStdin, AttachStdout: c.AttachStdout, AttachStderr: c.AttachStderr, Env: c.Env, Cmd: c.Cmd, Entrypoint: c.Entrypoint,
		WorkingDir: c.WorkingDir, ExposedPorts: c.ExposedPorts, Volumes: c.Volumes, StopSignal: c.StopSignal, StopTimeout: c.StopTimeout, Healthcheck: c.Healthcheck,
	}
	for _, o := range h.SecurityOpt {
		if strings.HasPrefix(o, "no-new-privileges") {
			d.host.SecurityOpt = append(d.host.SecurityOpt, o)
		}
	}
	if to.Privileges {
		d.host.Privileged, d.host.CapAdd, d.host.SecurityOpt = h.Privileged, h.CapAdd, h.SecurityOpt
		d.host.Devices, d.host.DeviceRequests, d.host.DeviceCgroupRules = h.Devices, h.DeviceRequests, h.DeviceCgroupRules
		d.host.PidMode, d.host.UTSMode, d.host.UsernsMode, d.host.GroupAdd, d.host.CgroupParent = h.PidMode, h.UTSMode, h.UsernsMode, h.GroupAdd, h.CgroupParent
	} else {
		for _, p := range d.Privileges {
			d.Refused = append(d.Refused, p+" of an archive, which --allow-privileges takes")
		}
	}
	take := func(what string, is bool, f func()) {
		switch {
		case !is:
		case slices.Contains(to.Accept, what):
			f()
		default:
			d.Left = append(d.Left, what)
		}
	}
	take("labels", len(c.Labels) > 0, func() { d.config.Labels = c.Labels })
	take("annotations", len(h.Annotations) > 0, func() { d.host.Annotations = h.Annotations })
	take("log", len(h.LogConfig.Config) > 0 || h.LogConfig.Type != "json-file", func() { d.host.LogConfig = h.LogConfig })
	take("ports", len(h.PortBindings) > 0 && to.Ports == nil, func() { d.host.PortBindings = h.PortBindings })
}

// publish replaces the published ports.
func (d *Draft) publish(ports []string) error {
	if ports == nil {
		return nil
	}
	exposed, bindings, err := nat.ParsePortSpecs(ports)
	if err != nil {
		return err
	}
	d.host.PortBindings, d.host.PublishAllPorts = bindings, false
	if d.config.ExposedPorts == nil {
		d.config.ExposedPorts = nat.PortSet{}
	}
	for p := range exposed {
		d.config.ExposedPorts[p] = struct{}{}
	}
	return nil
}

// join settles the networks. Only the other one itself has its ID as an alias.
func (d *Draft) join(c Creation, id string, to Change) {
	mode := string(d.host.NetworkMode)
	if to.Network != "" {
		mode = to.Network
		d.host.NetworkMode = container.NetworkMode(mode)
	}
	d.network = mode
	if mode == "" || mode == "default" {
		d.host.NetworkMode = "default"
		d.network = "bridge"
	}
	if m := d.host.NetworkMode; m.IsHost() || m.IsNone() || m.IsContainer() {
		return
	}
	for name, j := range c.Networks {
		if to.Network != "" && name != to.Network {
			continue
		}
		j.Aliases = slices.DeleteFunc(slices.Clone(j.Aliases), func(a string) bool { return len(a) == 12 && strings.HasPrefix(id, a) })
		if to.AnyIP {
			j.IPv4, j.IPv6 = "", ""
		}
		if to.Foreign {
			j = Joining{IPv4: j.IPv4, IPv6: j.IPv6}
		}
		d.networks[name] = j
	}
	if to.IP != "" {
		j := d.networks[d.network]
		j.IPv4 = to.IP
		d.networks[d.network] = j
	}
}

// mount renames volumes and replaces sources of binds. Those of an archive must be
// named.
func (d *Draft) mount(to Change) {
	volume := func(name, destination string) string {
		if other := to.Volumes[name]; other != "" {
			name = other
			d.Renamed[name] = true
		}
		d.Volumes[destination] = name
		return name
	}
	bind := func(source, destination string) string {
		if other := to.Binds[destination]; other != "" {
			return other
		}
		if to.Foreign {
			d.Refused = append(d.Refused, fmt.Sprintf("%s is a bind mount of %s, and an archive cannot name a path of this host: --bind %s=SOURCE", destination, source, destination))
		}
		return source
	}
	d.host.Binds = slices.Clone(d.host.Binds)
	for i, b := range d.host.Binds {
		source, rest, ok := strings.Cut(b, ":")
		if !ok {
			continue
		}
		destination, _, _ := strings.Cut(rest, ":")
		if strings.HasPrefix(source, "/") {
			source = bind(source, destination)
		} else {
			source = volume(source, destination)
		}
		d.host.Binds[i] = source + ":" + rest
	}
	d.host.Mounts = slices.Clone(d.host.Mounts)
	for i := range d.host.Mounts {
		m := &d.host.Mounts[i]
		switch m.Type {
		case mount.TypeVolume:
			if to.Foreign && m.VolumeOptions != nil && m.VolumeOptions.DriverConfig != nil {
				d.Refused = append(d.Refused, m.Target+" is a volume of a driver with options, which an archive cannot ask for")
			}
			if m.Source != "" {
				m.Source = volume(m.Source, m.Target)
			}
		case mount.TypeBind:
			m.Source = bind(m.Source, m.Target)
		case mount.TypeTmpfs:
		default:
			if to.Foreign {
				d.Refused = append(d.Refused, fmt.Sprintf("%s is a mount of type %.20s", m.Target, m.Type))
			}
		}
	}
}

const maxOutput = 1 << 20

func readMost(r io.Reader) (string, error) {
	text, err := io.ReadAll(io.LimitReader(r, maxOutput))
	if err == nil {
		_, err = io.Copy(io.Discard, r)
	}
	return string(text), err
}
