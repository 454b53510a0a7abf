package docker

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"

	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/mount"
	"github.com/docker/go-connections/nat"
)

const oldID = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"

func created(t *testing.T, change func(*container.Config, *container.HostConfig)) Creation {
	t.Helper()
	c := container.Config{Image: "app:1", Env: []string{"A=b"}, Labels: map[string]string{"com.docker.compose.project": "shop"}, MacAddress: "02:00:00:00:00:01"} //nolint:staticcheck // see Draft
	h := container.HostConfig{
		Binds: []string{"data:/data:ro", "/srv:/srv"}, NetworkMode: "shop", LogConfig: container.LogConfig{Type: "syslog", Config: map[string]string{"syslog-address": "tcp://x"}},
		PortBindings: nat.PortMap{"80/tcp": {{HostPort: "8080"}}}, Mounts: []mount.Mount{{Type: mount.TypeVolume, Source: "more", Target: "/more"}},
	}
	if change != nil {
		change(&c, &h)
	}
	config, err := json.Marshal(c)
	if err != nil {
		t.Fatal(err)
	}
	host, err := json.Marshal(h)
	if err != nil {
		t.Fatal(err)
	}
	return Creation{Config: config, HostConfig: host, Networks: map[string]Joining{
		"shop": {Aliases: []string{"web", oldID[:12]}, IPv4: "10.0.0.5"}, "other": {},
	}}
}

func TestDraftLikeTheOldOne(t *testing.T) {
	d, err := created(t, nil).Draft(oldID, Change{Name: "new", Image: "app:1"})
	if err != nil {
		t.Fatal(err)
	}
	if d.Refused != nil || d.Left != nil || d.config.MacAddress != "" || d.config.Labels["com.docker.compose.project"] != "shop" { //nolint:staticcheck // see Draft
		t.Errorf("refused %v, left %v, config %+v", d.Refused, d.Left, d.config)
	}
	if j := d.networks["shop"]; !slices.Equal(j.Aliases, []string{"web"}) || j.IPv4 != "10.0.0.5" || !slices.Equal(d.Networks(), []string{"other", "shop"}) {
		t.Errorf("networks %v, joining %+v", d.Networks(), j)
	}
	if d.Volumes["/data"] != "data" || d.Volumes["/more"] != "more" || d.host.PortBindings["80/tcp"][0].HostPort != "8080" {
		t.Errorf("volumes %v, ports %v", d.Volumes, d.host.PortBindings)
	}
}

func TestDraftChanged(t *testing.T) {
	d, err := created(t, nil).Draft(oldID, Change{
		Name: "new", Ports: []string{"127.0.0.1:9090:80"}, Network: "other", IP: "10.1.0.9", Volumes: map[string]string{"data": "data2"}, Binds: map[string]string{"/srv": "/mnt"},
	})
	if err != nil {
		t.Fatal(err)
	}
	if b := d.host.PortBindings["80/tcp"]; len(d.host.PortBindings) != 1 || b[0].HostPort != "9090" || b[0].HostIP != "127.0.0.1" {
		t.Errorf("ports %v", d.host.PortBindings)
	}
	if !slices.Equal(d.Networks(), []string{"other"}) || d.networks["other"].IPv4 != "10.1.0.9" || d.host.NetworkMode != "other" {
		t.Errorf("networks %v", d.networks)
	}
	if want := []string{"data2:/data:ro", "/mnt:/srv"}; !slices.Equal(d.host.Binds, want) || !d.Renamed["data2"] {
		t.Errorf("binds %v", d.host.Binds)
	}
	if d, err = created(t, nil).Draft(oldID, Change{AnyIP: true}); err != nil || d.networks["shop"].IPv4 != "" {
		t.Errorf("joining %+v, %v", d.networks["shop"], err)
	}
	if _, err := created(t, nil).Draft(oldID, Change{Ports: []string{"x:y:z:"}}); err == nil {
		t.Error("ports that are none are taken")
	}
}

// Nothing of an archive reaches out of the container unless it is asked for.
func TestDraftOfAnArchive(t *testing.T) {
	c := created(t, nil)
	d, err := c.Draft(oldID, Change{Name: "new", Foreign: true})
	if err != nil {
		t.Fatal(err)
	}
	if len(d.Refused) != 1 || !strings.Contains(d.Refused[0], "/srv is a bind mount of /srv") {
		t.Errorf("refused %q", d.Refused)
	}
	if !slices.Equal(d.Left, []string{"labels", "log", "ports"}) || d.config.Labels != nil || d.host.LogConfig.Type != "" || d.host.PortBindings != nil {
		t.Errorf("left %q, %+v", d.Left, d.host)
	}
	if j := d.networks["shop"]; j.Aliases != nil || !slices.Equal(d.config.Env, []string{"A=b"}) {
		t.Errorf("joining %+v", j)
	}
	d, err = c.Draft(oldID, Change{Name: "new", Foreign: true, Accept: []string{"labels", "ports", "log"}, Binds: map[string]string{"/srv": "/srv"}})
	if err != nil || d.Refused != nil || d.Left != nil || len(d.config.Labels) != 1 || len(d.host.PortBindings) != 1 || d.host.LogConfig.Type != "syslog" {
		t.Errorf("refused %q, left %q, %v", d.Refused, d.Left, err)
	}
}

func TestPrivilegesOfAnArchive(t *testing.T) {
	for want, change := range map[string]func(*container.HostConfig){
		"privileged":             func(h *container.HostConfig) { h.Privileged = true },
		"cap_add SYS_ADMIN":      func(h *container.HostConfig) { h.CapAdd = []string{"SYS_ADMIN"} },
		"security_opt seccomp=x": func(h *container.HostConfig) { h.SecurityOpt = []string{"seccomp=x"} },
		"device /dev/sda":        func(h *container.HostConfig) { h.Devices = []container.DeviceMapping{{PathOnHost: "/dev/sda"}} },
		"device cgroup rules":    func(h *container.HostConfig) { h.DeviceCgroupRules = []string{"a *:* rwm"} },
		"pid mode host":          func(h *container.HostConfig) { h.PidMode = "host" },
		"ipc mode host":          func(h *container.HostConfig) { h.IpcMode = "host" },
		"uts mode host":          func(h *container.HostConfig) { h.UTSMode = "host" },
		"userns mode host":       func(h *container.HostConfig) { h.UsernsMode = "host" },
		"network mode host":      func(h *container.HostConfig) { h.NetworkMode = "host" },
		"cgroup parent /x":       func(h *container.HostConfig) { h.CgroupParent = "/x" },
		"groups disk":            func(h *container.HostConfig) { h.GroupAdd = []string{"disk"} },
		"volumes from db":        func(h *container.HostConfig) { h.VolumesFrom = []string{"db"} },
		"/proc/kcore not masked": func(h *container.HostConfig) {
			h.MaskedPaths = slices.DeleteFunc(slices.Clone(leastMasked), func(p string) bool { return p == "/proc/kcore" })
		},
		"/proc/sysrq-trigger writable": func(h *container.HostConfig) { h.ReadonlyPaths = leastReadOnly[:4] },
	} {
		c := created(t, func(_ *container.Config, h *container.HostConfig) { change(h); h.Binds = nil })
		d, err := c.Draft(oldID, Change{Foreign: true})
		if err != nil || !slices.Equal(d.Refused, []string{want + " of an archive, which --allow-privileges takes"}) {
			t.Errorf("%s: refused %q, %v", want, d.Refused, err)
		}
		if d.host.Privileged || d.host.CapAdd != nil || d.host.Devices != nil || d.host.PidMode != "" || d.host.GroupAdd != nil {
			t.Errorf("%s: taken all the same", want)
		}
		if d, err = c.Draft(oldID, Change{Foreign: true, Privileges: true}); err != nil || d.Refused != nil || !slices.Equal(d.Privileges, []string{want}) {
			t.Errorf("%s, allowed: refused %q, %q, %v", want, d.Refused, d.Privileges, err)
		}
		if d, err = c.Draft(oldID, Change{}); err != nil || d.Refused != nil {
			t.Errorf("%s, of this host: refused %q, %v", want, d.Refused, err)
		}
	}
}
