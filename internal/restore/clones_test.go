package restore

import (
	"context"
	"errors"
	"testing"

	"github.com/checkpointctl/checkpointctl/internal/docker"
)

// asked counts how often it is asked, and knows no answer the first time.
type asked struct {
	engine
	times int
}

func (a *asked) Daemon(context.Context) (docker.Daemon, error) {
	a.times++
	if a.times == 1 {
		return docker.Daemon{}, errors.New("not there yet")
	}
	return docker.Daemon{Driver: "overlay2"}, nil
}

func TestRemembering(t *testing.T) {
	a := &asked{}
	e := &remembering{engine: a}
	if _, err := e.Daemon(context.Background()); err == nil {
		t.Error("an error was lost")
	}
	for range 3 {
		if d, err := e.Daemon(context.Background()); err != nil || d.Driver != "overlay2" {
			t.Errorf("%+v %v", d, err)
		}
	}
	if a.times != 2 {
		t.Errorf("asked %d times, want 2", a.times)
	}
}
