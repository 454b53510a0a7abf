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
	"github.com/checkpointctl/checkpointctl/internal/metadata"
	"github.com/checkpointctl/checkpointctl/internal/runtime"
)

// yard is a daemon with containers that can be frozen, and a CRIU for them. It
// keeps a diary.
type yard struct {
	mu     sync.Mutex
	diary  []string
	frozen map[string]bool
	ended  map[string]bool
	fail   map[string]error // what the dump of a container does; nil in it: it panics

	interrupt func() // at every freeze
	events    []Event
}

func (y *yard) heard(e Event) {
	y.mu.Lock()
	defer y.mu.Unlock()
	y.events = append(y.events, e)
}

func (y *yard) note(what, id string) {
	y.mu.Lock()
	defer y.mu.Unlock()
	y.diary = append(y.diary, what+" "+id)
	switch what {
	case "freeze":
		y.frozen[id] = true
	case "thaw":
		delete(y.frozen, id)
	case "end":
		y.ended[id] = true
	}
}

// pen is the freezer of a container in the yard.
type pen struct {
	*yard
	id string
}

func (p pen) Dir() string { return "/cgroup/" + p.id }

func (p pen) Frozen() bool { return p.id == "paused" }

func (p pen) Tasks() ([]int, error) {
	if p.id == "restarted" {
		return nil, nil
	}
	return []int{os.Getpid()}, nil
}

func (p pen) Hold(ctx context.Context) error {
	if p.id == "stubborn" {
		return errors.New("does not freeze")
	}
	if p.interrupt != nil {
		p.interrupt()
	}
	p.note("freeze", p.id)
	if p.id == "gone" {
		return os.ErrNotExist
	}
	return ctx.Err()
}

func (p pen) Thaw() error {
	p.note("thaw", p.id)
	return nil
}

func (y *yard) Inspect(_ context.Context, id string) (docker.Container, error) {
	c := inYard(id)
	y.mu.Lock()
	defer y.mu.Unlock()
	if y.ended[id] {
		c.State = "exited"
	}
	return c, nil
}

func (*yard) Kill(context.Context, string) error                    { return errors.New("not asked for") }
func (*yard) ImageLayers(context.Context, string) ([]string, error) { return nil, nil }

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
	if r.FreezeCgroup != "/cgroup/"+r.Root {
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
	c.Init = runtime.FindTask(c.PID)
	if id == "reused" {
		c.Init.StartTime++
	}
	return c
}

func (y *yard) group(ctx context.Context, t *testing.T, leave bool, limit int, ids ...string) (*Creator, []metadata.Record, []error) {
	t.Helper()
	y.frozen, y.ended = map[string]bool{}, map[string]bool{}
	m := &Creator{Dumper: y, Docker: y, Recovery: nothingLeft{}, Store: metadata.Store{Dir: t.TempDir()}, freezer: y.pen, Happened: y.heard}
	req := GroupRequest{Batch: "b", Limit: limit}
	for _, id := range ids {
		req.Members = append(req.Members, Request{Container: inYard(id), Name: "x", Options: criu.Options{LeaveRunning: leave}})
	}
	records, errs := m.CreateGroup(ctx, req)
	for _, id := range ids {
		if m.Store.FrozenBy(id).ID != "" {
			t.Errorf("%s is still noted as frozen", id)
		}
	}
	if leave && len(y.frozen) > 0 {
		t.Errorf("still frozen: %v", y.frozen)
	}
	return m, records, errs
}

func (y *yard) pen(c docker.Container) (freezer, error) { return pen{y, c.ID}, nil }

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
			if y.at("dumped "+id) < y.at("dump "+other) || y.at("thaw "+id) >= 0 {
				t.Errorf("%s ended before %s was dumped: %v", id, other, y.diary)
			}
		}
	}
	y = &yard{fail: map[string]error{"b": errors.New("boom")}}
	if m, _, errs := y.group(context.Background(), t, false, 1, "a", "b"); len(y.frozen) > 0 || errs[0] == nil {
		t.Errorf("frozen %v, %v", y.frozen, errs)
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
		"no freeze":   {&yard{}, []string{"a", "stubborn", "c"}, "container stubborn: does not freeze"},
		"gone":        {&yard{}, []string{"a", "gone", "c"}, "container gone has ended meanwhile"},
		"restarted":   {&yard{}, []string{"a", "restarted", "c"}, "was started again meanwhile"},
		"pid reused":  {&yard{}, []string{"a", "reused", "c"}, "was started again meanwhile"},
		"paused":      {&yard{}, []string{"a", "paused", "c"}, "was paused meanwhile"},
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

	// In the middle of the freezes: all are thawed again, see group.
	ctx, y.fail = context.Background(), nil
	ctx, y.interrupt = context.WithCancel(ctx)
	if _, _, errs = y.group(ctx, t, true, 2, "a", "b"); !errors.Is(errs[0], context.Canceled) || y.at("freeze b") < 0 {
		t.Error(errs, y.diary)
	}
}

// Peers of connections are thawed together, others as soon as they are dumped.
func TestWhoIsThawedWhen(t *testing.T) {
	y := &yard{frozen: map[string]bool{}}
	m := &Creator{Docker: y, Recovery: nothingLeft{}, Store: metadata.Store{Dir: t.TempDir()}}
	g := &group{creator: m}
	for _, id := range []string{"web", "db", "alone"} {
		g.members = append(g.members, &member{group: g, req: Request{Container: inYard(id)}, cgroup: pen{y, id}, noted: true, held: true, connected: id != "alone"})
		g.members[len(g.members)-1].frozen = g.members[0].frozen.Add(1)
		g.members[len(g.members)-1].req.Options.LeaveRunning = true
	}
	for i, want := range []string{"", "thaw alone", "thaw alone,thaw web,thaw db"} {
		g.release(g.members[[]int{0, 2, 1}[i]])
		if got := strings.Join(y.diary, ","); got != want {
			t.Errorf("step %d: %q, want %q", i, got, want)
		}
	}
}
