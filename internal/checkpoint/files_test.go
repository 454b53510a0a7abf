package checkpoint

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/checkpointctl/checkpointctl/internal/criu"
	"github.com/checkpointctl/checkpointctl/internal/docker"
	"github.com/checkpointctl/checkpointctl/internal/layer"
	"github.com/checkpointctl/checkpointctl/internal/metadata"
)

// holder is a CRIU that changes a file right before the freeze, and another one
// right after the thaw.
type holder struct {
	fakeDumper
	before, after func()
}

func (h *holder) Dump(ctx context.Context, r criu.Request) (criu.Result, error) {
	h.before()
	if err := r.Ready(ctx); err != nil {
		return criu.Result{}, err
	}
	h.before()
	if r.Frozen != nil {
		r.Frozen()
	}
	if err := r.PostDump(time.Now()); err != nil {
		return criu.Result{}, err
	}
	h.after()
	return h.fakeDumper.Dump(ctx, r)
}

// mortal is a daemon whose container ends when CRIU has dumped it.
type mortal struct {
	fakeEngine
	ended bool
}

func (m *mortal) Inspect(ctx context.Context, id string) (docker.Container, error) {
	if m.ended {
		return fakeEngine{state: "exited"}.Inspect(ctx, id)
	}
	return m.fakeEngine.Inspect(ctx, id)
}

// withFiles is a container with a layer, a shared /dev/shm and two volumes.
func withFiles(t *testing.T) (c docker.Container, volumes []docker.Volume) {
	t.Helper()
	c = running()
	dir := t.TempDir()
	for _, name := range []string{"upper/etc", c.ID + "/shm", "one", "two"} {
		if err := os.MkdirAll(filepath.Join(dir, name), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, name, "file"), []byte("then"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	c.UpperDir = filepath.Join(dir, "upper")
	c.BindSources = map[string]string{"/dev/shm": filepath.Join(dir, c.ID, "shm")}
	c.Settings.Mounts = []docker.MountSetting{{Type: "bind", Destination: "/srv", Source: filepath.Join(dir, "one/file")}}
	return c, []docker.Volume{
		{Name: "one", Destination: "/one", Source: filepath.Join(dir, "one"), Driver: "local"},
		{Name: "two", Destination: "/two", Source: filepath.Join(dir, "two"), Driver: "local"},
		{Name: "far", Destination: "/far", Source: filepath.Join(dir, "far"), Driver: "nfs", Away: true},
	}
}

// content opens a part and returns what a file in it holds.
func content(t *testing.T, s metadata.Store, r metadata.Record, part, file string) string {
	t.Helper()
	p, ok := r.Part(part)
	if !ok {
		return "no such part"
	}
	in, err := os.Open(filepath.Join(s.Path(r.Name, r.Checkpoint), p.File))
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	dir := t.TempDir()
	if n, err := layer.Extract(context.Background(), in, p.SizeBytes, dir, layer.Target{}); err != nil || n != p.Entries {
		t.Fatalf("%d entries, want %d, %v", n, p.Entries, err)
	}
	data, _ := os.ReadFile(filepath.Join(dir, file))
	return string(data)
}

// The files are those of the freeze, whatever comes before and after it.
func TestFilesAreOfTheFreeze(t *testing.T) {
	for _, leave := range []bool{true, false} {
		c, volumes := withFiles(t)
		set := func(text string) func() {
			return func() {
				for _, f := range []string{c.UpperDir + "/etc/file", volumes[0].Source + "/file", c.BindSources["/dev/shm"] + "/file"} {
					if err := os.WriteFile(f, []byte(text), 0o600); err != nil {
						t.Error(err)
					}
				}
			}
		}
		engine := &mortal{}
		m := &Creator{
			Dumper: &holder{before: set("at the freeze"), after: func() { set("too late")(); engine.ended = true }}, Docker: engine, Recovery: nothingLeft{},
			Store:   metadata.Store{Dir: t.TempDir()},
			Volumes: func(context.Context, string) ([]docker.Volume, error) { return volumes, nil },
		}
		r, err := m.Create(context.Background(), Request{
			Container: c, Options: criu.Options{LeaveRunning: leave}, Files: Files{RootFS: true, Volumes: []string{AllVolumes}, Skip: []string{"two"}},
		})
		if err != nil {
			t.Fatal(err)
		}
		for part, file := range map[string]string{metadata.PartRootFS: "etc/file", metadata.PartVolume + "one": "file", metadata.PartShm: "file"} {
			if got := content(t, m.Store, r, part, file); got != "at the freeze" {
				t.Errorf("leave running %v, %s: %q", leave, part, got)
			}
		}
		if len(r.Parts) != 4 || r.Parts[0].SizeBytes == 0 || len(r.Binds) != 1 || r.Binds[0].Type != "file" || r.Binds[0].Mode != "0600" {
			t.Errorf("%+v, %+v", r.Parts, r.Binds)
		}
		if problems := m.Store.Verify(r, metadata.Hashes); problems != nil {
			t.Errorf("%q", problems)
		}
		if left, _ := filepath.Glob(filepath.Join(m.Store.Dir, "web", ".files-*")); left != nil {
			t.Errorf("left over: %q", left)
		}
	}
}

// What was killed after its container can be published with its files.
func TestFilesAreWholeBeforeTheKill(t *testing.T) {
	c, _ := withFiles(t)
	store := metadata.Store{Dir: t.TempDir()}
	var found []metadata.Finding
	engine := &mortal{}
	look := func() { found, engine.ended = store.Findings("web"), true }
	m := &Creator{Dumper: &holder{before: func() {}, after: look}, Docker: engine, Recovery: nothingLeft{}, Store: store}
	if _, err := m.Create(context.Background(), Request{Container: c, Files: Files{RootFS: true}}); err != nil {
		t.Fatal(err)
	}
	i := slices.IndexFunc(found, func(f metadata.Finding) bool { return f.Record != nil })
	if i < 0 {
		t.Fatalf("%+v", found)
	}
	p, ok := found[i].Record.Part(metadata.PartRootFS)
	if text, _ := json.Marshal(p); !ok || p.Entries != 3 || p.SizeBytes == 0 {
		t.Errorf("%s", text)
	}
}

func TestTrees(t *testing.T) {
	c, volumes := withFiles(t)
	volumes[1].Others, volumes[1].Running = []string{"db"}, []string{"db"}
	peers := &group{}
	names := func(f Files, change func(*Request)) (string, error) {
		req := Request{Container: c, Files: f}
		if change != nil {
			change(&req)
		}
		m := &Creator{Volumes: func(context.Context, string) ([]docker.Volume, error) { return volumes, nil }}
		list, warnings, err := m.trees(context.Background(), req)
		text := ""
		for _, tree := range list {
			text += tree.part.Name + " "
		}
		return text + strings.Join(warnings, ", "), err
	}
	noLayer := func(r *Request) { r.Container.UpperDir, r.Container.Driver = "", "zfs" }
	for name, test := range map[string]struct {
		files  Files
		change func(*Request)
		want   string
		refuse string
	}{
		"nothing but shared memory": {Files{}, nil, "devshm ", ""},
		"the layer":                 {Files{RootFS: true}, nil, "rootfs devshm ", ""},
		"rounds alone":              {Files{RootFS: true}, func(r *Request) { r.RoundsOnly = true }, "", ""},
		"no layer":                  {Files{RootFS: true}, noLayer, "devshm container web: the checkpoint has no files: the storage driver zfs has no writable layer that can be taken", ""},
		"no layer, asked for":       {Files{RootFS: true, Asked: true}, noLayer, "", "the storage driver zfs has no writable layer"},
		"shared memory of another": {Files{}, func(r *Request) {
			r.Container.BindSources = map[string]string{"/dev/shm": "/var/lib/docker/containers/other/mounts/shm"}
		}, "", ""},
		"one volume":        {Files{Volumes: []string{"one"}}, nil, "devshm volume:one ", ""},
		"no such volume":    {Files{Volumes: []string{"three"}}, nil, "", "it mounts no volume three"},
		"another's":         {Files{Volumes: []string{AllVolumes}}, nil, "", "volume two is mounted by db, too, which runs"},
		"all but another's": {Files{Volumes: []string{AllVolumes}, Skip: []string{"two", "unknown"}}, nil, "devshm volume:one container web: volume far is not taken: it is mounted only while it is used", ""},
		"away":              {Files{Volumes: []string{"far"}}, nil, "", "volume far is mounted only while it is used"},
		"with the other": {Files{Volumes: []string{"two"}}, func(r *Request) {
			r.member = &member{group: peers, req: *r}
			db := &member{group: peers}
			db.req.Container.Name = "db"
			db.req.Container.Settings.Mounts = []docker.MountSetting{{Type: "volume", Name: "two", Destination: "/data"}}
			peers.members = []*member{r.member, db}
		}, "devshm volume:two ", ""},
	} {
		got, err := names(test.files, test.change)
		var state *docker.StateError
		if test.refuse != "" {
			if !errors.As(err, &state) || !strings.Contains(state.Is, test.refuse) || state.Hint == "" {
				t.Errorf("%s: %v", name, err)
			}
			continue
		}
		if err != nil || got != test.want {
			t.Errorf("%s: %q, %v, want %q", name, got, err, test.want)
		}
	}
	if !peers.members[0].bound() || !peers.members[1].bound() {
		t.Error("who shares files is not bound to the other")
	}
}
