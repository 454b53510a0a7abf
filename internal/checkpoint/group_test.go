package checkpoint

import (
	"context"
	"errors"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/checkpointctl/checkpointctl/internal/criu"
	"github.com/checkpointctl/checkpointctl/internal/docker"
	"github.com/checkpointctl/checkpointctl/internal/linux"
	"github.com/checkpointctl/checkpointctl/internal/metadata"
)

// yard is a daemon with containers that can be paused, and a CRIU for them. It
// keeps a diary.
type yard struct {
	mu     sync.Mutex
	diary  []string
	paused map[string]bool
	ended  map[string]bool
	fail   map[string]error // what the dump of a container does; nil in it: it panics

	interrupt func() // at every pause
}

func (y *yard) note(what, id string) {
	y.mu.Lock()
	defer y.mu.Unlock()
	y.diary = append(y.diary, what+" "+id)
	switch what {
	case "pause":
		y.paused[id] = true
	case "unpause":
		delete(y.paused, id)
	case "end":
		y.ended[id] = true
	}
}

func (y *yard) Pause(ctx context.Context, id string) error {
	if id == "stubborn" {
		return errors.New("cannot be paused")
	}
	if y.interrupt != nil {
		y.interrupt()
	}
	y.note("pause", id)
	if id == "late" {
		return errors.New("no answer in time")
	}
	return ctx.Err()
}

func (y *yard) Unpause(ctx context.Context, id string) error {
	y.note("unpause", id)
	return ctx.Err()
}

func (y *yard) Inspect(_ context.Context, id string) (docker.Container, error) {
	c := inYard(id)
	y.mu.Lock()
	defer y.mu.Unlock()
	switch {
	case y.ended[id]:
		c.State = "exited"
	case y.paused[id]:
		c.State = "paused"
	}
	return c, nil
}

func (*yard) Kill(context.Context, string) error              { return errors.New("not asked for") }
func (*yard) Versions(context.Context) (docker.Daemon, error) { return docker.Daemon{}, nil }
func (*yard) Version() (criu.Version, error)                  { return 40200, nil }
func (*yard) DirtyTracking(context.Context) error             { return nil }

func (*yard) PreDump(context.Context, criu.Request) (criu.Result, error) {
	return criu.Result{}, errors.New("not asked for")
}

func (y *yard) Dump(ctx context.Context, r criu.Request) (criu.Result, error) {
	if err := r.Ready(ctx); err != nil {
		return criu.Result{}, err
	}
	y.note("dump", r.Root)
	if err, fails := y.fail[r.Root]; fails && err == nil {
		panic("boom")
	} else if fails {
		return criu.Result{}, err
	}
	if r.FreezeCgroup == "" {
		return criu.Result{}, errors.New("no freezer cgroup")
	}
	err := r.PostDump(time.Now())
	y.note("dumped", r.Root)
	if err == nil && !r.Options.LeaveRunning {
		y.note("end", r.Root)
	}
	return criu.Result{}, err
}

// inYard is a container that goes by one word.
func inYard(id string) docker.Container {
	c := running()
	c.ID, c.Name, c.RootFS = id, id, id
	c.Cgroups = linux.Cgroups{Mode: "v2", List: []linux.Cgroup{{Path: "/"}}}
	if _, err := os.Stat("/sys/fs/cgroup/freezer"); err == nil {
		c.Cgroups = linux.Cgroups{Mode: "v1", List: []linux.Cgroup{{Controllers: "freezer", Path: "/"}}}
	}
	return c
}

func (y *yard) group(ctx context.Context, t *testing.T, leave bool, limit int, ids ...string) (*Creator, []metadata.Record, []error) {
	t.Helper()
	y.paused, y.ended = map[string]bool{}, map[string]bool{}
	m := &Creator{Dumper: y, Docker: y, Recovery: nothingLeft{}, Store: metadata.Store{Dir: t.TempDir()}}
	req := GroupRequest{Batch: "b", Limit: limit}
	for _, id := range ids {
		req.Members = append(req.Members, Request{Container: inYard(id), Name: "x", Options: criu.Options{LeaveRunning: leave}})
	}
	records, errs := m.CreateGroup(ctx, req)
	for _, id := range ids {
		if m.Store.PausedBy(id) != "" {
			t.Errorf("%s is still noted as paused", id)
		}
	}
	if leave && len(y.paused) > 0 {
		t.Errorf("still paused: %v", y.paused)
	}
	return m, records, errs
}

func (y *yard) at(what string) int { return slices.Index(y.diary, what) }

func TestGroup(t *testing.T) {
	y := &yard{}
	m, records, errs := y.group(context.Background(), t, true, 1, "a", "b", "c")
	if errors.Join(errs...) != nil || len(records) != 3 {
		t.Fatal(errs)
	}
	g := records[1].Group
	if g == nil || g.Batch != "b" || g.ID != records[0].Group.ID || strings.Join(g.Members, " ") != "a b c" || g.FrozenUS <= 0 {
		t.Errorf("group %+v", g)
	}
	for i, line := range y.diary {
		if strings.HasPrefix(line, "dump ") && i < 3 {
			t.Errorf("dumped before all were frozen: %v", y.diary)
		}
		// One at a time.
		if strings.HasPrefix(line, "dump ") && y.diary[i+1] != "dumped "+line[5:] {
			t.Errorf("two dumps at once: %v", y.diary)
		}
	}
	if list, err := m.Store.List(""); len(list) != 3 || err != nil {
		t.Errorf("%v, %v", list, err)
	}
}

// One that is to be killed waits, complete, until the others are.
func TestGroupIsKilledTogether(t *testing.T) {
	y := &yard{}
	if _, _, errs := y.group(context.Background(), t, false, 1, "a", "b", "c"); errors.Join(errs...) != nil {
		t.Fatal(errs)
	}
	for _, id := range []string{"a", "b", "c"} {
		for _, other := range []string{"a", "b", "c"} {
			if y.at("dumped "+id) < y.at("dump "+other) || y.at("unpause "+id) >= 0 {
				t.Errorf("%s ended before %s was dumped: %v", id, other, y.diary)
			}
		}
	}
	y = &yard{fail: map[string]error{"b": errors.New("boom")}}
	if m, _, errs := y.group(context.Background(), t, false, 1, "a", "b"); len(y.paused) > 0 || errs[0] == nil {
		t.Errorf("paused %v, %v", y.paused, errs)
	} else if list, _ := m.Store.List(""); len(list) != 0 {
		t.Errorf("listed %v", list)
	}
}

// If one cannot be taken, whatever the reason, none is kept and all run.
func TestGroupIsKeptWholeOrNotAtAll(t *testing.T) {
	boom := &criu.DumpError{Err: errors.New("boom"), Log: "why"}
	for name, test := range map[string]struct {
		y    *yard
		ids  []string
		want string
	}{
		"dump fails":  {&yard{fail: map[string]error{"b": boom}}, []string{"a", "b", "c"}, "since b of its group was not: criu dump failed"},
		"panic":       {&yard{fail: map[string]error{"c": nil}}, []string{"a", "b", "c"}, "since c of its group was not: panic: boom"},
		"no pause":    {&yard{}, []string{"a", "stubborn", "c"}, "cannot be paused"},
		"late pause":  {&yard{}, []string{"a", "late", "c"}, "no answer in time"},
		"bad to name": {&yard{}, []string{"a", "../b", "c"}, "bad name"},
	} {
		m, records, errs := test.y.group(context.Background(), t, true, 2, test.ids...)
		if records != nil || errs[0] == nil || !strings.Contains(errs[0].Error(), test.want) || errs[1] == nil || errs[2] == nil {
			t.Errorf("%s: %v, %v", name, records, errs)
		}
		if list, _ := m.Store.List(""); len(list) != 0 {
			t.Errorf("%s: listed %v", name, list)
		}
	}
}

func TestGroupInterrupted(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	y := &yard{fail: map[string]error{"b": context.Canceled}}
	cancel()
	_, _, errs := y.group(ctx, t, true, 2, "a", "b")
	if !errors.Is(errs[0], context.Canceled) || !errors.Is(errs[1], context.Canceled) {
		t.Error(errs)
	}

	// In the middle of the pauses: all are thawed again, see group.
	ctx, y.fail = context.Background(), nil
	ctx, y.interrupt = context.WithCancel(ctx)
	if _, _, errs = y.group(ctx, t, true, 2, "a", "b"); !errors.Is(errs[0], context.Canceled) || y.at("pause b") < 0 {
		t.Error(errs, y.diary)
	}
}

// Peers of connections are thawed together, others as soon as they are dumped.
func TestWhoIsThawedWhen(t *testing.T) {
	y := &yard{paused: map[string]bool{}}
	m := &Creator{Docker: y, Recovery: nothingLeft{}, Store: metadata.Store{Dir: t.TempDir()}}
	g := &group{creator: m}
	for _, id := range []string{"web", "db", "alone"} {
		g.members = append(g.members, &member{group: g, req: Request{Container: inYard(id)}, noted: true, asked: true, connected: id != "alone"})
		g.members[len(g.members)-1].frozen = g.members[0].frozen.Add(1)
		g.members[len(g.members)-1].req.Options.LeaveRunning = true
	}
	for i, want := range []string{"", "unpause alone", "unpause alone,unpause web,unpause db"} {
		g.release(g.members[[]int{0, 2, 1}[i]])
		if got := strings.Join(y.diary, ","); got != want {
			t.Errorf("step %d: %q, want %q", i, got, want)
		}
	}
}
