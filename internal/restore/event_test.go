package restore

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/checkpointctl/checkpointctl/internal/docker"
	"github.com/checkpointctl/checkpointctl/internal/linux"
	"github.com/checkpointctl/checkpointctl/internal/metadata"
)

// The memory of a container is told by the cgroup that it gets, which is called as before.
func TestMemory(t *testing.T) {
	own, err := linux.ReadCgroups(os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	from := source{dir: t.TempDir()}
	from.ID, from.CgroupMode = "old", own.Mode
	for _, g := range own.List {
		from.Cgroups = append(from.Cgroups, metadata.Cgroup{Controllers: g.Controllers, Path: filepath.Join(g.Path, "docker-old.scope")})
	}
	if err := os.WriteFile(filepath.Join(from.dir, "pages-1.img"), make([]byte, 8192), 0o600); err != nil {
		t.Fatal(err)
	}
	c := docker.Container{ID: "new"}
	m := memory(c, from, "", false)
	if m.Bytes != 8192 || m.Done == nil || m.Done() != 0 { // there is no such cgroup
		t.Errorf("got %+v", m)
	}
	for name, m := range map[string]Progress{
		"lazy":     memory(c, from, "", true),
		"no names": memory(c, source{Record: metadata.Record{}, dir: from.dir}, "", false),
	} {
		if m.Bytes != 0 || m.Done != nil {
			t.Errorf("%s: got %+v", name, m)
		}
	}
}

// A container of another host's checkpoint gets the cgroup that Docker gives it here.
func TestCgroupsOfAnImportedCheckpoint(t *testing.T) {
	from := source{}
	from.ID, from.Imported, from.CgroupMode = "old", &metadata.Imported{}, "v1"
	from.Cgroups = []metadata.Cgroup{{Controllers: "memory", Path: "/there/old"}}
	for driver, want := range map[string]string{"cgroupfs": "/docker/new", "systemd": "/system.slice/docker-new.scope"} {
		got := cgroups(docker.Container{ID: "new"}, from, driver)
		if len(got.List) != 1 || got.List[0].Path != want || got.Mode != linux.ThisHost().CgroupMode {
			t.Errorf("%s: got %+v", driver, got)
		}
	}
}
