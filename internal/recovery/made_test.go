package recovery

import (
	"context"
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/checkpointctl/checkpointctl/internal/docker"
	"github.com/checkpointctl/checkpointctl/internal/metadata"
)

// making is a daemon with a container that may be one that was being made.
type making struct {
	daemon
	now  docker.Container
	gone bool
}

func (d *making) Inspect(_ context.Context, ref string) (docker.Container, error) {
	if d.gone || ref != d.now.ID && ref != d.now.Name {
		return docker.Container{}, docker.ErrNoSuchContainer
	}
	return d.now, nil
}

// A container that a killed run was making goes, with its volumes, unless it is
// somebody else's or has started.
func TestMakingLeft(t *testing.T) {
	began := time.Now()
	made := docker.Container{ID: "made", Name: "copy", State: "created", CreatedAt: began.Add(time.Second)}
	for name, test := range map[string]struct {
		id      string
		change  func(*making)
		removed []string
	}{
		"made":                {"made", func(*making) {}, []string{"made", "copy-data"}},
		"not known":           {"", func(*making) {}, []string{"made", "copy-data"}},
		"not made":            {"", func(d *making) { d.gone = true }, []string{"copy-data"}},
		"removed":             {"made", func(d *making) { d.gone = true }, []string{"copy-data"}},
		"another's":           {"", func(d *making) { d.now.CreatedAt = began.Add(-time.Hour) }, nil},
		"another's, later":    {"", func(d *making) { d.now.CreatedAt = began.Add(time.Hour) }, nil},
		"runs":                {"made", func(d *making) { d.now.PID = 1 << 30 }, nil},
		"ran":                 {"made", func(d *making) { d.now.StartedAt = began.Add(2 * time.Second) }, nil},
		"another of its name": {"other", func(*making) {}, []string{"copy-data"}}, // Docker keeps it if that one mounts it
	} {
		d := &making{now: made}
		test.change(d)
		r, said := newRecoverer(t, &d.daemon, nothing)
		r.docker = d
		unlock, err := r.store.Lock("web")
		if err == nil {
			err = r.store.NoteMade("web", metadata.Made{Name: "copy", ID: test.id, Began: began, Volumes: []string{"copy-data"}})
		}
		if err != nil {
			t.Fatal(err)
		}
		unlock()
		if err := r.Stored(context.Background(), "web"); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if _, there, err := r.store.Made("web"); there || err != nil {
			t.Errorf("%s: the note is left: %v", name, err)
		}
		if !slices.Equal(d.removed, test.removed) || !slices.Equal(*said, []string{"undo making of copy from a checkpoint of web"}) {
			t.Errorf("%s: removed %v, said %q", name, d.removed, *said)
		}
	}
	// What cannot be removed now is found again.
	r, _ := newRecoverer(t, &daemon{}, nothing)
	r.docker = &unreachable{}
	unlock, err := r.store.Lock("web")
	if err == nil {
		err = r.store.NoteMade("web", metadata.Made{Name: "copy", Began: began})
	}
	if err != nil {
		t.Fatal(err)
	}
	unlock()
	if err := r.Stored(context.Background(), "web"); !errors.Is(err, docker.ErrUnreachable) {
		t.Errorf("Docker is not there: %v", err)
	}
	if _, there, _ := r.store.Made("web"); !there {
		t.Error("Docker is not there, and the note is gone")
	}
}

type unreachable struct{ daemon }

func (*unreachable) Inspect(context.Context, string) (docker.Container, error) {
	return docker.Container{}, docker.ErrUnreachable
}
