package checkpoint

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/checkpointctl/checkpointctl/internal/criu"
	"github.com/checkpointctl/checkpointctl/internal/criuimg"
	"github.com/checkpointctl/checkpointctl/internal/docker"
	"github.com/checkpointctl/checkpointctl/internal/linux"
	"github.com/checkpointctl/checkpointctl/internal/metadata"
	"github.com/checkpointctl/checkpointctl/internal/mounts"
	"github.com/checkpointctl/checkpointctl/internal/recovery"
)

func running() docker.Container {
	return docker.Container{
		ID: strings.Repeat("c", 64), Name: "web", State: "running", PID: os.Getpid(), RootFS: "/merged", Driver: "overlay2",
		ImageDigest: "sha256:1", Namespaces: []linux.Namespace{{Type: "pid", Inode: 1}, {Type: "net", Inode: 2}},
		Mounts: []mounts.Mount{{Path: "/", FSType: "overlay"}},
	}
}

type fakeDumper struct {
	err, noTracking error
	got             criu.Request
}

func (f *fakeDumper) Version() (criu.Version, error) { return 40101, nil }

func (f *fakeDumper) DirtyTracking(context.Context) error { return f.noTracking }

func (f *fakeDumper) Dump(_ context.Context, r criu.Request) (criu.Result, error) {
	f.got = r
	if err := os.WriteFile(filepath.Join(r.ImageDir, criu.LogFile), []byte("log"), 0o600); err != nil {
		return criu.Result{}, err
	}
	res := criu.Result{Stats: criuimg.Stats{FrozenUS: 7}}
	if r.Rounds != nil {
		res.Rounds, res.Stop = []criu.Round{{Number: 1}}, criu.MaxRounds
	}
	return res, f.err
}

func (f *fakeDumper) PreDump(ctx context.Context, r criu.Request) (criu.Result, error) {
	res, err := f.Dump(ctx, r)
	res.Stats = criuimg.Stats{}
	return res, err
}

// fakeEngine is a daemon that knows one container, in this state.
type fakeEngine struct{ state string }

func (f fakeEngine) Inspect(context.Context, string) (docker.Container, error) {
	c := running()
	if f.state != "" {
		c.State, c.PID = f.state, 0
	}
	return c, nil
}

func (fakeEngine) Kill(context.Context, string) error { return errors.New("not asked for") }
func (fakeEngine) ImageLayers(context.Context, string) ([]string, error) {
	return []string{"sha256:aa"}, nil
}

func (fakeEngine) Versions(context.Context) (docker.Daemon, error) {
	return docker.Daemon{}, docker.ErrUnreachable
}

// nothingLeft is for containers that no run was killed on.
type nothingLeft struct{}

func (nothingLeft) BeforeDump(context.Context, docker.Container) error { return nil }
func (nothingLeft) AfterDump(context.Context, docker.Container) ([]recovery.Finding, error) {
	return nil, nil
}

func TestCreate(t *testing.T) {
	dump := &fakeDumper{}
	m := &Creator{Dumper: dump, Docker: fakeEngine{}, Recovery: nothingLeft{}, Store: metadata.Store{Dir: t.TempDir()}}
	r, err := m.Create(context.Background(), Request{Container: running(), Options: criu.Options{LeaveRunning: true}})
	if err != nil {
		t.Fatal(err)
	}
	if !dump.got.EmptyNetNS || dump.got.Root != "/merged" || dump.got.PID != os.Getpid() {
		t.Errorf("request %+v", dump.got)
	}
	if r.Checkpoint != "checkpoint1" || r.Versions.CRIU != "4.1.1" || r.Stats.FrozenUS != 7 || len(r.Files) != 3 {
		t.Errorf("record %+v", r)
	}
	stored, err := m.Store.Get("web", "checkpoint1")
	if err != nil || !reflect.DeepEqual(stored, r) {
		t.Errorf("stored %+v, %v", stored, err)
	}
}

func TestFailedDumpLeavesNothingButTheLog(t *testing.T) {
	broken := &criu.DumpError{Err: errors.New("boom"), Log: "why"}
	m := &Creator{Dumper: &fakeDumper{err: broken}, Docker: fakeEngine{}, Recovery: nothingLeft{}, Store: metadata.Store{Dir: t.TempDir()}}
	_, err := m.Create(context.Background(), Request{Container: running(), Name: "x"})
	if !errors.Is(err, broken) || !strings.HasSuffix(err.Error(), "; the container runs on") {
		t.Fatal(err)
	}
	m.Docker = fakeEngine{state: "exited"}
	if _, err := m.Create(context.Background(), Request{Container: running(), Name: "x"}); !strings.HasSuffix(err.Error(), "; the container is exited") {
		t.Error(err)
	}
	if list, _ := m.Store.List(""); len(list) != 0 {
		t.Errorf("listed: %v", list)
	}
	if _, err := m.Store.Log("web", "x", criu.LogFile); err != nil {
		t.Error(err)
	}
}

// A chain is continued only while nothing else counted memory changes.
func TestParent(t *testing.T) {
	dump := &fakeDumper{}
	m := &Creator{Dumper: dump, Docker: fakeEngine{}, Recovery: nothingLeft{}, Store: metadata.Store{Dir: t.TempDir()}}
	create := func(req Request) (metadata.Record, error) {
		req.Container, req.Options = running(), criu.Options{LeaveRunning: true}
		return m.Create(context.Background(), req)
	}
	rounds := &criu.Policy{}
	must := func(req Request) metadata.Record {
		t.Helper()
		r, err := create(req)
		if err != nil {
			t.Fatal(err)
		}
		return r
	}
	must(Request{Name: "plain"})
	pre := must(Request{Name: "pre", Rounds: rounds, RoundsOnly: true})
	if pre.Kind != metadata.KindPreDump || pre.Last() != "pre-dump/1" || dump.got.Parent != "" || !dump.got.Options.TrackMem {
		t.Errorf("pre-dump: %+v of %+v", pre, dump.got)
	}
	full := must(Request{Name: "full", Parent: "pre"})
	if full.Parent != "pre" || full.Last() != "." || dump.got.Parent != "../pre/pre-dump/1" || dump.got.Rounds != nil {
		t.Errorf("checkpoint: %+v of %+v", full, dump.got)
	}
	must(Request{Name: "next", Parent: "full", Rounds: rounds})
	if dump.got.Parent != "../full" {
		t.Errorf("parent %s", dump.got.Parent)
	}
	for parent, want := range map[string]string{"plain": "without tracking", "pre": "another one", "none": "no such checkpoint"} {
		if _, err := create(Request{Parent: parent}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("parent %s: %v", parent, err)
		}
	}
	if chain, err := m.Store.Chain(full); err != nil || len(chain) != 2 {
		t.Errorf("chain %v, %v", chain, err)
	}
	if err := m.Store.Remove("web", "pre"); !errors.Is(err, metadata.ErrNeeded) {
		t.Errorf("removing a parent: %v", err)
	}
	if r, err := m.Store.Find("web", ""); err != nil || r.Checkpoint != "next" {
		t.Errorf("newest: %s, %v", r.Checkpoint, err)
	}
	// A run that fails has reset the kernel's count all the same.
	dump.err = errors.New("boom")
	if _, err := create(Request{Rounds: rounds}); err == nil {
		t.Fatal("no error")
	}
	dump.err = nil
	if _, err := create(Request{Parent: "next"}); err == nil || !strings.Contains(err.Error(), "another one") {
		t.Errorf("got %v", err)
	}
	again := running()
	again.StartedAt = time.Now()
	if err := continues(again, full, full.TrackID); err == nil || !strings.Contains(err.Error(), "started again") {
		t.Errorf("got %v", err)
	}
	dump.noTracking = criu.ErrNoDirtyTracking
	if _, err := create(Request{Rounds: rounds}); !errors.Is(err, criu.ErrNoDirtyTracking) {
		t.Errorf("got %v", err)
	}
}

func TestNothingIsLeftWhenMemoryCannotBeTracked(t *testing.T) {
	m := &Creator{Dumper: &fakeDumper{}, Docker: fakeEngine{}, Recovery: nothingLeft{}, Store: metadata.Store{Dir: t.TempDir()}}
	// A directory is in the place of the note.
	if err := os.MkdirAll(filepath.Join(m.Store.Dir, "web", ".track"), 0o700); err != nil {
		t.Fatal(err)
	}
	_, err := m.Create(context.Background(), Request{Container: running(), Name: "x", Options: criu.Options{LeaveRunning: true}, Rounds: &criu.Policy{}})
	if err == nil {
		t.Fatal("no error")
	}
	if left, _ := filepath.Glob(filepath.Join(m.Store.Dir, "web", ".new-*")); left != nil {
		t.Errorf("left over: %v", left)
	}
}

func TestNetworkLock(t *testing.T) {
	dump := &fakeDumper{}
	m := &Creator{Dumper: dump, Docker: fakeEngine{}, Recovery: nothingLeft{}, Store: metadata.Store{Dir: t.TempDir()}}
	own, connected, host := running(), running(), running()
	connected.ID = "connected"
	m.connected = func(c docker.Container) bool { return c.ID == connected.ID }
	host.Namespaces[1].SharedWith = "host"
	for name, test := range map[string]struct {
		c          docker.Container
		lock, want string
	}{
		"no connections":      {own, LockAuto, "skip"},
		"connections":         {connected, LockAuto, "iptables"},
		"host's network":      {host, LockAuto, "iptables"},
		"as told":             {own, "nftables", "nftables"},
		"as told, connection": {connected, "skip", "skip"},
	} {
		r, err := m.Create(context.Background(), Request{Container: test.c, Options: criu.Options{LeaveRunning: true, NetworkLock: test.lock}})
		if err != nil || dump.got.Options.NetworkLock != test.want || r.Options.NetworkLock != test.want {
			t.Errorf("%s: %s, %v", name, dump.got.Options.NetworkLock, err)
		}
	}
}

func TestReady(t *testing.T) {
	keep, kill := criu.Options{LeaveRunning: true}, criu.Options{}
	for name, test := range map[string]struct {
		change func(*docker.Container)
		opts   criu.Options
		want   string // empty: taken
	}{
		"running":              {func(*docker.Container) {}, keep, ""},
		"running, kill":        {func(*docker.Container) {}, kill, ""},
		"paused":               {func(c *docker.Container) { c.State = "paused" }, keep, "paused"},
		"exited":               {func(c *docker.Container) { c.State, c.PID = "exited", 0 }, keep, "exited"},
		"pid host":             {func(c *docker.Container) { c.PIDMode = "host" }, keep, "pid namespace"},
		"pid container":        {func(c *docker.Container) { c.PIDMode = "container:x" }, keep, "pid namespace"},
		"no merged directory":  {func(c *docker.Container) { c.RootFS = "" }, keep, "root filesystem"},
		"--rm, running on":     {func(c *docker.Container) { c.AutoRemove = true }, keep, ""},
		"--rm, kill":           {func(c *docker.Container) { c.AutoRemove = true }, kill, "--rm"},
		"restart policy, kill": {func(c *docker.Container) { c.RestartPolicy = "always" }, kill, ""},
	} {
		t.Run(name, func(t *testing.T) {
			c := running()
			test.change(&c)
			err := ready(c, test.opts)
			var state *docker.StateError
			switch {
			case test.want == "" && err != nil:
				t.Error(err)
			case test.want != "" && (!errors.As(err, &state) || !strings.Contains(err.Error(), test.want)):
				t.Errorf("got %v, want %q", err, test.want)
			}
		})
	}
}

func TestNamespaces(t *testing.T) {
	c := running()
	if ns, empty := namespaces(c); ns != nil || !empty {
		t.Errorf("own: %v %v", ns, empty)
	}
	c.Namespaces[1].SharedWith = "host"
	if ns, empty := namespaces(c); ns != nil || empty {
		t.Errorf("host: %v %v", ns, empty)
	}
	c.NetworkMode, c.Namespaces[1].SharedWith = "container:abc", "container:abc"
	if ns, empty := namespaces(c); len(ns) != 1 || ns[0] != "net[2]:extRootNetNS" || empty {
		t.Errorf("container: %v %v", ns, empty)
	}
}
