package restore

import (
	"reflect"
	"strings"
	"testing"

	"github.com/checkpointctl/checkpointctl/internal/checkpoint"
	"github.com/checkpointctl/checkpointctl/internal/docker"
	"github.com/checkpointctl/checkpointctl/internal/metadata"
)

func TestCompare(t *testing.T) {
	base := func() docker.Container {
		return docker.Container{
			ID: "2", Name: "new", Runtime: "runc", NetworkMode: "mine", PIDMode: "",
			Settings: docker.Settings{
				Hostname: "h", User: "app", CapAdd: []string{"CHOWN"}, CapDrop: []string{"ALL"}, IPCMode: "private", Ports: []string{"80->80/tcp"},
				Mounts: []docker.MountSetting{
					{Type: "bind", Destination: "/bind", Source: "/srv"},
					{Type: "volume", Destination: "/vol", Source: "/vol/v", Name: "v", ReadOnly: true},
				},
			},
		}
	}
	c := base()
	var rec metadata.Record
	rec.ID, rec.Name, rec.Checkpoint, rec.Runtime = "1", "old", "one", "runc"
	rec.Settings = checkpoint.Settings(c)
	const other = "new is another container than the checkpoint's: files that the old one wrote are not in it"

	for name, test := range map[string]struct {
		change func(*docker.Container)
		wrong  string
		said   string
	}{
		"the same":            {func(*docker.Container) {}, "", ""},
		"user":                {func(c *docker.Container) { c.Settings.User = "0" }, "user was app, is root", ""},
		"cap_add":             {func(c *docker.Container) { c.Settings.CapAdd = nil }, "cap_add was CHOWN, is none", ""},
		"cap_drop":            {func(c *docker.Container) { c.Settings.CapDrop = []string{"A", "B"} }, "cap_drop was ALL, is A, B", ""},
		"privileged":          {func(c *docker.Container) { c.Settings.Privileged = true }, "privileged was false, is true", ""},
		"read-only":           {func(c *docker.Container) { c.Settings.ReadOnly = true }, "read-only root filesystem was false, is true", ""},
		"tty":                 {func(c *docker.Container) { c.TTY = true }, "tty was false, is true", ""},
		"init":                {func(c *docker.Container) { c.Settings.Init = true }, "init was false, is true", ""},
		"runtime":             {func(c *docker.Container) { c.Runtime = "crun" }, "runtime was runc, is crun", ""},
		"pid mode":            {func(c *docker.Container) { c.PIDMode = "host" }, "pid mode was private, is host", ""},
		"ipc mode":            {func(c *docker.Container) { c.Settings.IPCMode = "container:x" }, "ipc mode was private, is container", ""},
		"uts mode":            {func(c *docker.Container) { c.Settings.UTSMode = "host" }, "uts mode was private, is host", ""},
		"other network":       {func(c *docker.Container) { c.NetworkMode = "default" }, "", "new has the network default, the checkpoint's was mine"},
		"ports":               {func(c *docker.Container) { c.Settings.Ports = nil }, "", "new publishes the ports none, the checkpoint's were 80->80/tcp"},
		"hostname":            {func(c *docker.Container) { c.Settings.Hostname = "i" }, "", "new has the hostname i, but its processes go on with h"},
		"no mount":            {func(c *docker.Container) { c.Settings.Mounts = c.Settings.Mounts[:1] }, "mount /vol was a read-only volume, is none", ""},
		"mount of other kind": {func(c *docker.Container) { c.Settings.Mounts[0].Type = "tmpfs" }, "mount /bind was a bind, is a tmpfs", ""},
		"writable mount":      {func(c *docker.Container) { c.Settings.Mounts[1].ReadOnly = false }, "mount /vol was a read-only volume, is a volume", ""},
		"other volume":        {func(c *docker.Container) { c.Settings.Mounts[1].Name = "w" }, "", "the volume at /vol is w, the checkpoint's was v"},
		"other bind":          {func(c *docker.Container) { c.Settings.Mounts[0].Source = "/opt" }, "", "what is mounted at /bind is /opt, the checkpoint's was /srv"},
		"one mount more": {func(c *docker.Container) {
			c.Settings.Mounts = append(c.Settings.Mounts, docker.MountSetting{Type: "bind", Destination: "/x"})
		}, "mount /x was none, is a bind", ""},
	} {
		c := base()
		test.change(&c)
		wrong, said := compare(rec, c)
		if got := strings.Join(wrong, "; "); got != test.wrong {
			t.Errorf("%s: wrong %q", name, got)
		}
		want := []string{other}
		if test.said != "" {
			want = append(want, test.said)
		}
		if test.wrong == "" && !reflect.DeepEqual(said, want) {
			t.Errorf("%s: said %q", name, said)
		}
	}

	c.ID, c.Settings.User = "1", "root"
	if wrong, said := compare(rec, c); wrong != nil || said != nil {
		t.Errorf("the checkpoint's own container: %q, %q", wrong, said)
	}
	c.ID, c.Name, c.NetworkMode = "2", "old", "container:3"
	rec.Settings.User, rec.Settings.NetworkMode = "root", "container:1"
	if wrong, said := compare(rec, c); wrong != nil || !strings.Contains(said[0], "old is a newer container") {
		t.Errorf("the network of a newer container: %q, %q", wrong, said)
	}
	rec.Settings = nil
	if wrong, said := compare(rec, c); wrong != nil || !strings.Contains(said[1], "old/one is of an older version") {
		t.Errorf("an older record: %q, %q", wrong, said)
	}
}
