package runtime

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func TestBytesRead(t *testing.T) {
	for text, want := range map[string]int64{
		"rchar: 34848010\nwchar: 3228\nread_bytes: 9\n": 34848010,
		"wchar: 1\nrchar: 7\n":                          7,
		"":                                              0,
		"rchar: x\n":                                    0,
	} {
		if got := bytesRead([]byte(text)); got != want {
			t.Errorf("%q: %d", text, got)
		}
	}
}

func TestPercent(t *testing.T) {
	for _, c := range []struct {
		fetched, total int64
		want           int
	}{{0, 100, 0}, {374, 1000, 37}, {999, 1000, 99}, {1000, 1000, 100}, {1200, 1000, 100}, {0, 0, 100}} {
		if got := Percent(c.fetched, c.total); got != c.want {
			t.Errorf("%d of %d: %d %%", c.fetched, c.total, got)
		}
	}
}

// A fetch is under way while its daemon lives or is watched, lost when only the
// container is left, and over when nothing is.
func TestFetchState(t *testing.T) {
	child := func() Task {
		cmd := exec.Command("sleep", "60")
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		task := FindTask(cmd.Process.Pid)
		t.Cleanup(func() { task.Kill(); _ = cmd.Wait() })
		return task
	}
	root := t.TempDir()
	dir := filepath.Join(root, strings.Repeat("c", 64))
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	w, err := watch(dir, 0)
	if err != nil {
		t.Fatal(err)
	}
	f := Fetch{Container: "web", Daemon: child(), Init: child(), TotalBytes: 1}
	state := func(want State) {
		t.Helper()
		if err := w.Note(f); err != nil {
			t.Fatal(err)
		}
		list := fetches(root, "*")
		if len(list) != 1 || list[0].State() != want || list[0].Container != "web" {
			t.Fatalf("%+v, want %s", list, want)
		}
	}
	state(Fetching)
	if n := f.FetchedBytes(); n != 1 {
		t.Errorf("read %d, at most the total", n)
	}
	if _, err := watch(dir, 0); !errors.Is(err, ErrBusy) {
		t.Errorf("watched twice: %v", err)
	}
	if err := fetches(root, "*")[0].Forget(); err != nil || len(fetches(root, "*")) != 1 {
		t.Errorf("forgot one that is watched: %v", err)
	}
	f.Daemon.Kill()
	f.Daemon.Await(10 * time.Second)
	state(Fetching) // its end is being looked at
	w.Leave()
	state(Lost)
	f.Init.Kill()
	f.Init.Await(10 * time.Second)
	state(Over)
	f.Error = "criu lazy-pages: signal: killed"
	state(Lost)
	if err := fetches(root, "*")[0].Forget(); err != nil || len(fetches(root, "*")) != 0 {
		t.Errorf("not forgotten: %v", err)
	}
}

// The last error of the daemon's log is what counts.
func TestWatcherLog(t *testing.T) {
	w, err := watch(t.TempDir(), 0)
	if err != nil {
		t.Fatal(err)
	}
	if got := w.Log(); got != "" {
		t.Errorf("no log: %q", got)
	}
	text := "Warn  (criu/kerndat.c:1799): x\nError (criu/uffd.c:1): first\n(00.1) Error (criu/uffd.c:2): last\nWarn  (y): z\n"
	if err := os.WriteFile(filepath.Join(w.dir, LazyPagesLog), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	if got := w.Log(); got != "(00.1) Error (criu/uffd.c:2): last" {
		t.Errorf("%q", got)
	}
	if err := w.End(); err != nil {
		t.Error(err)
	}
}
