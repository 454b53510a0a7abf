package runtime

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func TestIsRunc(t *testing.T) {
	for _, test := range []struct {
		command, executable string
		want                bool
	}{
		{"runc:[2:INIT]", "", true}, {"runc:[1:CHILD]", "/usr/bin/other", true}, {"runc", "/usr/sbin/runc", true},
		{"6", "/memfd:runc_cloned:/proc/self/exe (deleted)", true}, {"exe", "/usr/sbin/runc (deleted)", true},
		{"sh", "/bin/busybox", false}, {"runcible", "/bin/runcible", false}, {"gone", "", false},
	} {
		if got := isRunc(test.command, test.executable); got != test.want {
			t.Errorf("%+v: %v", test, got)
		}
	}
}

// cell is a freezer with the processes that its first freezes find in it.
type cell struct {
	found [][]int
	diary []string
}

func (c *cell) Hold(ctx context.Context) error {
	c.diary = append(c.diary, "hold")
	return ctx.Err()
}

func (c *cell) Thaw() error {
	c.diary = append(c.diary, "thaw")
	return nil
}

func (c *cell) Tasks() ([]int, error) {
	if len(c.found) == 0 {
		return nil, errors.New("no cgroup")
	}
	now := c.found[0]
	if len(c.found) > 1 {
		c.found = c.found[1:]
	}
	return now, nil
}

// runc starts a process whose program is called runc.
func runc(t *testing.T) int {
	t.Helper()
	sleep, err := exec.LookPath("sleep")
	if err != nil {
		t.Fatal(err)
	}
	if sleep, err = filepath.EvalSymlinks(sleep); err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile(sleep)
	if err != nil {
		t.Fatal(err)
	}
	program := filepath.Join(t.TempDir(), "runc")
	if err := os.WriteFile(program, data, 0o700); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(program, "60")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _, _ = cmd.Process.Kill(), cmd.Wait() })
	return cmd.Process.Pid
}

func TestFreeze(t *testing.T) {
	me, entering := os.Getpid(), runc(t)
	for name, test := range map[string]struct {
		found [][]int
		want  string
		err   error
	}{
		"at once":               {[][]int{{1}}, "hold", nil},
		"one enters":            {[][]int{{1, entering}, {1, entering}, {1}, {1}}, "hold thaw hold", nil},
		"and another":           {[][]int{{entering}, {1}, {entering}, {1}, {1}}, "hold thaw hold thaw hold", nil},
		"all the time":          {[][]int{{1, entering}}, "hold thaw thaw", ErrEntering},
		"a runc of its own":     {[][]int{{me, entering}}, "hold", nil},
		"nothing to be frozen ": {nil, "hold thaw", errors.New("no cgroup")},
	} {
		c := &cell{found: test.found}
		ctx, cancel := context.WithTimeout(context.Background(), 200*time.Millisecond)
		_, err := Freeze(ctx, c)
		cancel()
		if got := strings.Join(c.diary, " "); got != test.want {
			t.Errorf("%s: %s, want %s", name, got, test.want)
		}
		if (err == nil) != (test.err == nil) || err != nil && !errors.Is(err, test.err) && err.Error() != test.err.Error() {
			t.Errorf("%s: %v, want %v", name, err, test.err)
		}
	}
}
