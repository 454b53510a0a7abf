package recovery

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/checkpointctl/checkpointctl/internal/docker"
	"github.com/checkpointctl/checkpointctl/internal/metadata"
)

// daemon has one container, web.
type daemon struct {
	paused  bool
	removed []string // containers and volumes
}

func (d *daemon) Remove(_ context.Context, id string) error {
	d.removed = append(d.removed, id)
	return nil
}

func (d *daemon) RemoveVolume(_ context.Context, name string) error {
	d.removed = append(d.removed, name)
	return nil
}

func (d *daemon) Inspect(context.Context, string) (docker.Container, error) {
	c := web
	if c.State = "running"; d.paused {
		c.State = "paused"
	}
	return c, nil
}

func (d *daemon) Unpause(context.Context, string) error {
	d.paused = false
	return nil
}

var web = docker.Container{ID: strings.Repeat("c", 64), Name: "web"}

// newRecoverer returns one that finds in containers what inside does, and on the
// host nothing but stages, and what it says that it recovered.
func newRecoverer(t *testing.T, d *daemon, inside source) (*Recoverer, *[]string) {
	t.Helper()
	r := New(d, metadata.Store{Dir: t.TempDir()}, filepath.Join(t.TempDir(), "stage"))
	r.inside, r.host = inside, []source{r.stages}
	var said []string
	r.Recovered = func(f Finding) { said = append(said, f.Action+" "+f.String()) }
	return r, &said
}

func nothing(context.Context, container) ([]Finding, error) { return nil, nil }

func draft(t *testing.T, r *Recoverer) string {
	t.Helper()
	unlock, err := r.store.Lock("web")
	if err != nil {
		t.Fatal(err)
	}
	d, err := r.store.Begin("web", "half")
	if err != nil {
		t.Fatal(err)
	}
	unlock()
	return d.Dir
}

func gone(path string) bool {
	_, err := os.Stat(path)
	return errors.Is(err, os.ErrNotExist)
}

func TestContainerLeftPaused(t *testing.T) {
	d := &daemon{paused: true}
	r, _ := newRecoverer(t, d, nothing)
	recoverWeb := func() {
		t.Helper()
		if err := r.Container(context.Background(), web); err != nil {
			t.Error(err)
		}
	}
	unlock, err := r.store.Lock("web")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(r.store.Dir, "web", ".paused"), []byte(web.ID), 0o600); err != nil {
		t.Fatal(err)
	}
	if recoverWeb(); !d.paused {
		t.Error("unpaused while its run is alive")
	}
	unlock()
	if recoverWeb(); d.paused {
		t.Error("stays paused")
	}
	if !gone(filepath.Join(r.store.Dir, "web")) {
		t.Error("left over in the store")
	}
	d.paused = true // by the user
	if recoverWeb(); !d.paused {
		t.Error("unpaused without a note")
	}
}

func TestContainerLeftFrozen(t *testing.T) {
	for name, test := range map[string]struct {
		paused bool // by the user, since
		id     string
		want   string
	}{
		"left":        {false, web.ID, "0"},
		"paused":      {true, web.ID, "1"},
		"of another":  {false, strings.Repeat("d", 64), "1"},
		"is gone now": {false, web.ID, "-"},
	} {
		r, said := newRecoverer(t, &daemon{paused: test.paused}, nothing)
		cgroup := filepath.Join(t.TempDir(), web.ID)
		file := filepath.Join(cgroup, "cgroup.freeze")
		if test.want != "-" {
			if err := errors.Join(os.Mkdir(cgroup, 0o700), os.WriteFile(file, []byte("1"), 0o600)); err != nil {
				t.Fatal(err)
			}
		}
		unlock, err := r.store.Lock("web")
		if err != nil {
			t.Fatal(err)
		}
		if err := r.store.NoteFrozen("web", metadata.Frozen{ID: test.id, Cgroup: cgroup}); err != nil {
			t.Fatal(err)
		}
		if err := r.BeforeDump(context.Background(), web); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		unlock()
		got := "-"
		if data, err := os.ReadFile(file); err == nil {
			got = string(data)
		}
		if got != test.want || !slices.Equal(*said, []string{"undo frozen for a checkpoint of web"}) || !gone(filepath.Join(r.store.Dir, "web")) {
			t.Errorf("%s: %s, said %v", name, got, *said)
		}
	}
}

// All sources are asked, and what one found is recovered before the next is.
func TestAll(t *testing.T) {
	var order []string
	does := func(what string) func(context.Context) error {
		return func(context.Context) error {
			order = append(order, what)
			return nil
		}
	}
	r, said := newRecoverer(t, &daemon{}, nil)
	r.host = append(r.host, func(context.Context, container) ([]Finding, error) {
		return []Finding{{What: "restore", Action: Remove, do: does("host")}}, nil
	})
	dir := draft(t, r)
	r.inside = func(_ context.Context, c container) ([]Finding, error) {
		if c.name != "web" || gone(dir) {
			t.Errorf("%+v was asked about after the store", c)
		}
		return []Finding{{What: "network lock", Action: Undo, do: does("inside")}}, nil
	}
	want := []string{"undo network lock of web", "remove incomplete checkpoint of web", "remove restore"}
	for _, dryRun := range []bool{true, false} {
		list, err := r.All(context.Background(), dryRun)
		var got []string
		for _, f := range list {
			got = append(got, f.Action+" "+f.String())
		}
		if err != nil || !slices.Equal(got, want) {
			t.Errorf("dry run %v: %v, %v", dryRun, got, err)
		}
		if gone(dir) == dryRun || (len(order) == 0) != dryRun {
			t.Errorf("dry run %v: draft gone %v, done %v", dryRun, gone(dir), order)
		}
	}
	if !slices.Equal(order, []string{"inside", "host"}) || !slices.Equal(*said, want) {
		t.Errorf("done %v, said %v", order, *said)
	}
}

// While a CRIU is at work the store is its, too.
func TestBusy(t *testing.T) {
	r, said := newRecoverer(t, &daemon{}, func(context.Context, container) ([]Finding, error) { return nil, ErrBusy })
	dir := draft(t, r)
	list, err := r.All(context.Background(), false)
	if err != nil || len(list) != 1 || list[0].Action != Leave {
		t.Errorf("%v, %v", list, err)
	}
	if err := r.BeforeDump(context.Background(), web); !errors.Is(err, ErrBusy) {
		t.Errorf("before a dump: %v", err)
	}
	if gone(dir) || *said != nil {
		t.Errorf("draft gone %v, said %v", gone(dir), *said)
	}
}

// A dump that finds nothing in the store does not look into the container.
func TestBeforeDump(t *testing.T) {
	asked := 0
	r, said := newRecoverer(t, &daemon{}, func(context.Context, container) ([]Finding, error) {
		asked++
		return nil, nil
	})
	if err := r.BeforeDump(context.Background(), web); err != nil || asked != 0 {
		t.Errorf("asked %d times, %v", asked, err)
	}
	dir := draft(t, r)
	if err := r.BeforeDump(context.Background(), web); err != nil || asked != 1 || !gone(dir) || len(*said) != 1 {
		t.Errorf("asked %d times, said %v, %v", asked, *said, err)
	}
}

func TestAfterDump(t *testing.T) {
	boom := errors.New("boom")
	r, _ := newRecoverer(t, &daemon{}, func(context.Context, container) ([]Finding, error) {
		return []Finding{{What: "network lock", Action: Undo, do: func(context.Context) error { return boom }}}, nil
	})
	found, err := r.AfterDump(context.Background(), web)
	if !errors.Is(err, boom) || err.Error() != "cannot undo network lock of web: boom" || len(found) != 1 {
		t.Errorf("%v, %v", found, err)
	}
}

// What is to be left is left, whoever asks.
func TestLeave(t *testing.T) {
	f := Finding{What: "images kept", Action: Leave, do: func(context.Context) error { return errors.New("not asked for") }}
	if err := f.Recover(context.Background()); err != nil {
		t.Error(err)
	}
}

func TestStages(t *testing.T) {
	r, _ := newRecoverer(t, &daemon{}, nothing)
	left := filepath.Join(r.stageDir, "stage-LEFT")
	if err := os.MkdirAll(left, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := r.Container(context.Background(), web); err != nil || gone(left) {
		t.Errorf("gone with a container: %v, %v", gone(left), err)
	}
	if list, err := r.All(context.Background(), false); err != nil || len(list) != 1 || !gone(left) {
		t.Errorf("%v, %v", list, err)
	}
}
