package checkpoint

import (
	"context"
	"errors"
	"os/exec"
	"strings"
	"testing"

	"github.com/checkpointctl/checkpointctl/internal/docker"
)

// killer is a daemon that does this when it is asked to kill.
type killer struct {
	fakeEngine
	do func() error
}

func (k killer) Kill(context.Context, string) error { return k.do() }

func TestStop(t *testing.T) {
	for name, test := range map[string]struct {
		kills  bool
		answer error
		want   string
	}{
		"killed":          {true, nil, ""},
		"and no answer":   {true, docker.ErrUnreachable, ""},
		"not reachable":   {false, docker.ErrUnreachable, "docker kill web: docker is not reachable"},
		"nothing is done": {false, nil, "docker kill web: it has not been killed"},
	} {
		child := exec.Command("sleep", "60")
		if err := child.Start(); err != nil {
			t.Fatal(err)
		}
		c := running()
		c.PID = child.Process.Pid
		m := &Creator{Docker: killer{do: func() error {
			if test.kills {
				_ = child.Process.Kill()
			}
			return test.answer
		}}}
		err := m.stop(context.Background(), c)
		if (err == nil) != (test.want == "") || err != nil && !strings.HasPrefix(err.Error(), test.want) {
			t.Errorf("%s: %v, want %q", name, err, test.want)
		}
		_ = child.Process.Kill()
		_ = child.Wait()
	}
}

// What Docker was asked it may do although nobody waits any more.
func TestStopIsNotInterrupted(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	asked := errors.New("asked")
	c := running()
	m := &Creator{Docker: killer{do: func() error { return asked }}}
	if err := m.stop(ctx, c); !errors.Is(err, asked) {
		t.Error(err)
	}
}
