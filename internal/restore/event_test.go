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
	m := memory(c, from, false)
	if m.Bytes != 8192 || m.Back == nil || m.Back() != 0 { // there is no such cgroup
		t.Errorf("got %+v", m)
	}
	for name, m := range map[string]Memory{
		"lazy":     memory(c, from, true),
		"no names": memory(c, source{Record: metadata.Record{}, dir: from.dir}, false),
	} {
		if m.Bytes != 0 || m.Back != nil {
			t.Errorf("%s: got %+v", name, m)
		}
	}
	from.Imported = &metadata.Imported{}
	if m := memory(c, from, false); m.Back != nil {
		t.Errorf("of another host: got %+v", m)
	}
}
