package park

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/checkpointctl/checkpointctl/internal/docker"
	"github.com/checkpointctl/checkpointctl/internal/metadata"
	"github.com/checkpointctl/checkpointctl/internal/restore"
)

// host is a fake of Docker, and of what checkpoints and restores there.
type host struct {
	t          *testing.T
	store      metadata.Store
	containers map[string]*docker.Container
	refuses    map[string]error // to checkpoint or restore it
	did        []string
}

func newHost(t *testing.T, policies map[string]string) (*host, *Parker) {
	t.Helper()
	dir := t.TempDir()
	if err := os.Chmod(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	h := &host{t: t, store: metadata.Store{Dir: dir}, containers: map[string]*docker.Container{}, refuses: map[string]error{}}
	for name, policy := range policies {
		h.containers[name] = &docker.Container{ID: strings.Repeat(name, 64), Name: name, State: "running", RestartPolicy: policy, MaxRetries: len(policy)}
	}
	return h, &Parker{Docker: h, Store: h.store, Checkpoint: h.checkpoint, Restore: h.restore}
}

func (h *host) find(id string) *docker.Container {
	for _, c := range h.containers {
		if c.ID == id {
			return c
		}
	}
	return nil
}

func (h *host) Inspect(_ context.Context, id string) (docker.Container, error) {
	if c := h.find(id); c != nil {
		return *c, nil
	}
	return docker.Container{}, docker.ErrNoSuchContainer
}

func (h *host) SetRestartPolicy(_ context.Context, id, policy string, retries int) error {
	c := h.find(id)
	if c == nil {
		return docker.ErrNoSuchContainer
	}
	c.RestartPolicy, c.MaxRetries = policy, retries
	return nil
}

func (h *host) Start(_ context.Context, id string) error {
	c := h.find(id)
	if err := h.refuses["start "+c.Name]; err != nil {
		return err
	}
	h.did = append(h.did, "start "+c.Name)
	c.State = "running"
	return nil
}

func (h *host) checkpoint(_ context.Context, u Unit, name string) error {
	for _, c := range u {
		if err := h.refuses[c.Name]; err != nil {
			return err
		}
		if n, there, _ := h.store.Parked(c.Name); !there || n.Checkpoint != name {
			h.t.Errorf("%s is stopped before that is noted", c.Name)
		}
	}
	for _, c := range u {
		h.did = append(h.did, "checkpoint "+c.Name)
		h.containers[c.Name].State = "exited"
		d, err := h.store.Begin(c.Name, name)
		if err == nil {
			r := metadata.Record{SchemaVersion: metadata.SchemaVersion, Checkpoint: name, Kind: metadata.KindCheckpoint}
			r.Name, r.ID = c.Name, c.ID
			err = d.Publish(r)
		}
		if err != nil {
			h.t.Fatal(err)
		}
	}
	return nil
}

func (h *host) restore(_ context.Context, members []restore.Member) error {
	for _, m := range members {
		if err := h.refuses[m.Container.Name]; err != nil {
			return err
		}
	}
	for _, m := range members {
		h.did = append(h.did, "restore "+m.Container.Name+" "+m.Record.Checkpoint)
		h.containers[m.Container.Name].State = "running"
	}
	return nil
}

// units are of one container each, but for those joined by +.
func (h *host) units(text string) []Unit {
	var list []Unit
	for _, names := range strings.Fields(text) {
		var u Unit
		for _, name := range strings.Split(names, "+") {
			u = append(u, *h.containers[name])
		}
		list = append(list, u)
	}
	return list
}

func (h *host) hasDone(want ...string) {
	h.t.Helper()
	if !slices.Equal(h.did, want) {
		h.t.Errorf("did %q, want %q", h.did, want)
	}
	h.did = nil
}

func (h *host) policies() string {
	var list []string
	for _, name := range slices.Sorted(maps.Keys(h.containers)) {
		c := h.containers[name]
		list = append(list, fmt.Sprintf("%s=%s:%d", name, c.RestartPolicy, c.MaxRetries))
	}
	return strings.Join(list, " ")
}

func (h *host) parked() string {
	list, err := h.store.AllParked()
	if err != nil {
		h.t.Fatal(err)
	}
	var names []string
	for _, p := range list {
		names = append(names, p.Name)
	}
	return strings.Join(names, " ")
}

func failed(list []Outcome) string {
	var names []string
	for _, o := range list {
		if o.Err != nil {
			names = append(names, o.Container)
		}
	}
	return strings.Join(names, " ")
}

func TestParkAndUnpark(t *testing.T) {
	h, p := newHost(t, map[string]string{"a": "always", "b": "", "c": "on-failure", "d": "unless-stopped"})
	if got := failed(p.Park(t.Context(), h.units("a b+c d"), "x")); got != "" {
		t.Errorf("not parked: %s", got)
	}
	h.hasDone("checkpoint d", "checkpoint b", "checkpoint c", "checkpoint a")
	if got := h.policies(); got != "a=unless-stopped:0 b=:0 c=unless-stopped:0 d=unless-stopped:14" || h.parked() != "a b c d" {
		t.Errorf("%s, parked %s", got, h.parked())
	}
	if err := h.store.Remove("a", "x"); !errors.Is(err, metadata.ErrParked) {
		t.Errorf("its checkpoint can be removed: %v", err)
	}
	list, err := p.Unpark(t.Context())
	if got := failed(list); got != "" || err != nil {
		t.Errorf("not restored: %s, %v", got, err)
	}
	h.hasDone("restore a x", "restore b x", "restore c x", "restore d x")
	if got := h.policies(); got != "a=always:6 b=:0 c=on-failure:10 d=unless-stopped:14" || h.parked() != "" {
		t.Errorf("%s, parked %s", got, h.parked())
	}
	if err := h.store.Remove("a", "x"); err != nil {
		t.Error(err)
	}
}

// One that cannot be parked is as before, and does not keep the others from it.
func TestParkFails(t *testing.T) {
	h, p := newHost(t, map[string]string{"a": "always", "b": "always", "c": ""})
	h.refuses["b"] = errors.New("it has a tracer")
	if got := failed(p.Park(t.Context(), h.units("a b c"), "x")); got != "b" {
		t.Errorf("failed: %s", got)
	}
	if got := h.policies(); got != "a=unless-stopped:0 b=always:6 c=:0" || h.parked() != "a c" {
		t.Errorf("%s, parked %s", got, h.parked())
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if got := failed(p.Park(ctx, h.units("b"), "y")); got != "b" || h.parked() != "a c" {
		t.Errorf("interrupted: failed %s, parked %s", got, h.parked())
	}
}

// Whatever has become of them, containers run in the end, and none is restored over
// what it did meanwhile.
func TestUnparkFails(t *testing.T) {
	h, p := newHost(t, map[string]string{"a": "always", "b": "always", "c": "", "d": "always", "e": "always", "f": ""})
	if got := failed(p.Park(t.Context(), h.units("a b c+d e f"), "x")); got != "" {
		t.Fatalf("not parked: %s", got)
	}
	h.did = nil
	h.containers["a"].State = "running" // somebody started it
	delete(h.containers, "b")
	h.refuses["c"] = errors.New("files changed")
	h.refuses["e"], h.refuses["start e"] = errors.New("damaged"), errors.New("no such network")
	list, err := p.Unpark(t.Context())
	if got := failed(list); got != "a b c d e" || err != nil {
		t.Errorf("failed: %s, %v", got, err)
	}
	for _, o := range list {
		if afresh := o.Container == "c" || o.Container == "d"; errors.Is(o.Err, ErrStartedAfresh) != afresh {
			t.Errorf("%s: %v", o.Container, o.Err)
		}
	}
	h.hasDone("start c", "start d", "restore f x")
	if got := h.policies(); got != "a=always:6 c=:0 d=always:6 e=unless-stopped:0 f=:0" || h.parked() != "e" {
		t.Errorf("%s, parked %s", got, h.parked())
	}
	delete(h.refuses, "e")
	if list, err := p.Unpark(t.Context()); failed(list) != "" || err != nil {
		t.Errorf("again: %s, %v", failed(list), err)
	}
	h.hasDone("restore e x")
	if got := h.policies(); !strings.Contains(got, "e=always:6") {
		t.Error(got)
	}
}

// A container that was started by hand and is parked again gets the policy back that
// it had before the first time.
func TestParkAgain(t *testing.T) {
	h, p := newHost(t, map[string]string{"a": "on-failure"})
	for _, name := range []string{"x", "y"} {
		if got := failed(p.Park(t.Context(), h.units("a"), name)); got != "" {
			t.Fatalf("not parked: %s", got)
		}
		h.containers["a"].State = "running"
	}
	h.containers["a"].State = "exited"
	if list, err := p.Unpark(t.Context()); failed(list) != "" || err != nil {
		t.Errorf("%v, %v", list, err)
	}
	h.hasDone("checkpoint a", "checkpoint a", "restore a y")
	if got := h.policies(); got != "a=on-failure:10" {
		t.Error(got)
	}
}
