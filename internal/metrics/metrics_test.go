package metrics

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

var at = time.Unix(1_800_000_000, 500_000_000)

func nothingGone(string) bool { return false }

func update(t *testing.T, file string, gone func(string) bool, runs ...Run) string {
	t.Helper()
	if err := Update(file, runs, gone); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func TestUpdate(t *testing.T) {
	file := filepath.Join(t.TempDir(), "checkpointctl.prom")
	got := update(t, file, nothingGone, Run{
		Operation: "checkpoint", Container: "web", Ended: at, Took: 1500 * time.Millisecond,
		Made: &Checkpoint{SizeBytes: 4096, Frozen: 2500 * time.Microsecond},
	})
	const want = `# HELP checkpointctl_checkpoint_frozen_seconds How long the container was frozen for its last checkpoint.
# TYPE checkpointctl_checkpoint_frozen_seconds gauge
checkpointctl_checkpoint_frozen_seconds{container="web",operation="checkpoint"} 0.0025
# HELP checkpointctl_checkpoint_size_bytes Size of the last checkpoint.
# TYPE checkpointctl_checkpoint_size_bytes gauge
checkpointctl_checkpoint_size_bytes{container="web",operation="checkpoint"} 4096
# HELP checkpointctl_duration_seconds How long the last run that succeeded took.
# TYPE checkpointctl_duration_seconds gauge
checkpointctl_duration_seconds{container="web",operation="checkpoint"} 1.5
# HELP checkpointctl_exit_status Exit status of the last run, 0 if it succeeded.
# TYPE checkpointctl_exit_status gauge
checkpointctl_exit_status{container="web",operation="checkpoint"} 0
# HELP checkpointctl_last_success_timestamp_seconds When the last run that succeeded ended.
# TYPE checkpointctl_last_success_timestamp_seconds gauge
checkpointctl_last_success_timestamp_seconds{container="web",operation="checkpoint"} 1.8000000005e+09
`
	if got != want {
		t.Errorf("got\n%swant\n%s", got, want)
	}
	if info, err := os.Stat(file); err != nil || info.Mode().Perm() != 0o644 {
		t.Errorf("%v, %v", info.Mode(), err)
	}
	if list, err := os.ReadDir(filepath.Dir(file)); err != nil || len(list) != 1 {
		t.Errorf("left beside it: %v, %v", list, err)
	}
}

// A failure keeps when the last success was, and what another container's runs said.
func TestMerge(t *testing.T) {
	file := filepath.Join(t.TempDir(), "checkpointctl.prom")
	update(t, file, nothingGone, Run{Operation: "checkpoint", Container: "web", Ended: at, Made: &Checkpoint{SizeBytes: 1}})
	update(t, file, nothingGone, Run{Operation: "restore", Container: "web", Ended: at, ExitStatus: 23})
	got := update(t, file, nothingGone,
		Run{Operation: "checkpoint", Container: "db", Ended: at}, Run{Operation: "checkpoint", Container: "web", Ended: at.Add(time.Hour), ExitStatus: 22},
		Run{Operation: "checkpoint", Batch: "nightly", Ended: at, ExitStatus: 3})
	for _, want := range []string{
		`checkpointctl_checkpoint_size_bytes{container="web",operation="checkpoint"} 1`,
		`checkpointctl_exit_status{batch="nightly",operation="checkpoint"} 3`,
		`checkpointctl_exit_status{container="db",operation="checkpoint"} 0`,
		`checkpointctl_exit_status{container="web",operation="checkpoint"} 22`,
		`checkpointctl_exit_status{container="web",operation="restore"} 23`,
		`checkpointctl_last_failure_timestamp_seconds{container="web",operation="checkpoint"} 1.8000036005e+09`,
		`checkpointctl_last_success_timestamp_seconds{container="web",operation="checkpoint"} 1.8000000005e+09`,
	} {
		if strings.Count(got, want+"\n") != 1 {
			t.Errorf("no %s", want)
		}
	}
	if n := strings.Count(got, "checkpointctl_exit_status{"); n != 4 {
		t.Errorf("%d exit statuses in\n%s", n, got)
	}
}

func TestForget(t *testing.T) {
	file := filepath.Join(t.TempDir(), "checkpointctl.prom")
	update(t, file, nothingGone, Run{Operation: "checkpoint", Container: "old", Ended: at}, Run{Operation: "checkpoint", Container: "broken", Ended: at, ExitStatus: 22},
		Run{Operation: "checkpoint", Batch: "nightly", Ended: at})
	got := update(t, file, func(string) bool { return true }, Run{Operation: "checkpoint", Container: "new", Ended: at})
	if strings.Contains(got, `"old"`) {
		t.Error("old is still there")
	}
	for _, want := range []string{`"broken"`, `"new"`, `"nightly"`} {
		if !strings.Contains(got, want) {
			t.Errorf("%s is forgotten", want)
		}
	}
}

func TestForeign(t *testing.T) {
	for name, text := range map[string]string{"no metrics": "root:x:0:0\n", "others": "up 1\n", "another type": "# TYPE checkpointctl_exit_status counter\ncheckpointctl_exit_status 1\n"} {
		t.Run(name, func(t *testing.T) {
			file := filepath.Join(t.TempDir(), "f")
			if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
			if err := Update(file, []Run{{Operation: "prune", Container: "web"}}, nothingGone); !errors.Is(err, ErrForeign) {
				t.Errorf("got %v", err)
			}
			if got, err := os.ReadFile(file); err != nil || string(got) != text {
				t.Errorf("the file is %q now: %v", got, err)
			}
		})
	}
	if err := Update(filepath.Join(t.TempDir(), "absent", "f"), nil, nothingGone); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("got %v", err)
	}
}

func TestAtOnce(t *testing.T) {
	file := filepath.Join(t.TempDir(), "checkpointctl.prom")
	var all sync.WaitGroup
	for i := range 20 {
		all.Add(1)
		go func() {
			defer all.Done()
			if err := Update(file, []Run{{Operation: "checkpoint", Container: fmt.Sprintf("c%d", i), Ended: at}}, nothingGone); err != nil {
				t.Error(err)
			}
		}()
	}
	all.Wait()
	if got := update(t, file, nothingGone); strings.Count(got, "checkpointctl_exit_status{") != 20 {
		t.Errorf("some are lost:\n%s", got)
	}
}
