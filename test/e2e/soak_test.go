//go:build e2e && soak

package e2e

import (
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

type outcome struct{ tried, survived, recovered int }

// TestSoak kills at random times and prints the table of docs/reliability.md:
// see scripts/soak.sh. SOAK_RUNS says how often.
func TestSoak(t *testing.T) {
	runs, err := strconv.Atoi(os.Getenv("SOAK_RUNS"))
	if err != nil {
		t.Fatal(err)
	}
	var (
		mu     sync.Mutex
		counts = map[[2]string]outcome{}
	)
	t.Run("containers", func(t *testing.T) {
		for _, victim := range []string{"checkpointctl", "CRIU", "both", "a child of CRIU", "checkpointctl, SIGINT", "checkpointctl, SIGTERM"} {
			t.Run(victim, func(t *testing.T) {
				t.Parallel()
				b := dirty(t, "8", "1")
				took := timed(func() { b.checkpoint("--name", "next", "--network-lock", "iptables") })
				b.must(0, "rm", b.name, "next")
				for range (runs + 5) / 6 {
					if end, ok := t.Deadline(); ok && time.Until(end) < 2*time.Minute {
						return // and print what there is
					}
					stage, got := b.soak(victim, took)
					mu.Lock()
					c := counts[[2]string{victim, stage}]
					c.tried, c.survived, c.recovered = c.tried+1, c.survived+got.survived, c.recovered+got.recovered
					counts[[2]string{victim, stage}] = c
					mu.Unlock()
				}
			})
		}
	})
	for _, key := range sorted(counts) {
		c := counts[key]
		fmt.Fprintf(os.Stdout, "soak| %s | %s | %d | %d | %d |\n", key[0], key[1], c.tried, c.survived, c.recovered)
	}
}

// soak begins a checkpoint, kills at a random time, and checks all that
// docs/reliability.md promises.
func (b *box) soak(victim string, took time.Duration) (stage string, got outcome) {
	t, init := b.t, b.pid()
	lock := []string{"iptables", "skip"}[rand.IntN(2)]
	cmd := exec.Command(binary, "--dir", b.store, "checkpoint", b.name, "--name", "gated", "--network-lock", lock)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	if rand.IntN(4) > 0 { // less often before there is a log
		awaitFile(t, filepath.Join(b.store, b.name, ".new-gated", "dump.log"))
	}
	time.Sleep(time.Duration(rand.Int64N(int64(took))))
	stage = b.reached()
	worker := strike(victim, cmd)
	_ = cmd.Wait()
	for range 1000 * slow {
		if worker == 0 || !alive(worker) {
			break
		}
		time.Sleep(10 * time.Millisecond)
	}
	recovered := rand.IntN(4) == 0 && strings.Contains(b.must(0, "repair").stdout, b.name)
	survived := t.Run(stage, func(t *testing.T) {
		b.t = t
		if state := b.inspect().State; !state.Running {
			docker(t, "start", b.name) // for those after it
			t.Fatalf("it is %s, with exit code %d", state.Status, state.ExitCode)
		}
		for _, r := range b.list() {
			b.must(0, "verify", b.name, r.Checkpoint)
		}
		next := b.must(0, "checkpoint", b.name, "--name", "next", "--network-lock", "skip")
		recovered = recovered || strings.Contains(next.stderr, "recovered")
		if now := b.pid(); now != init {
			t.Errorf("pid was %s, is %s", init, now)
		}
		b.memoryIsRight()
		b.clean()
		if hidden := b.hidden(); hidden != "" {
			t.Errorf("left in the store: %s", hidden)
		}
		for _, name := range []string{"gated", "next"} {
			_ = os.RemoveAll(filepath.Join(b.store, b.name, name))
		}
	})
	b.t = t
	if survived {
		got.survived = 1
		if recovered {
			got.recovered = 1
		}
	}
	return stage, got
}

// reached is the last stage that CRIU's log tells of.
func (b *box) reached() string {
	dir := filepath.Join(b.store, b.name)
	if _, err := os.Stat(filepath.Join(dir, "gated")); err == nil {
		return "published"
	}
	if _, err := os.Stat(filepath.Join(dir, ".new-gated", "container.json")); err == nil {
		return "before the rename"
	}
	log, _ := os.ReadFile(filepath.Join(dir, ".new-gated", "dump.log"))
	name := "before CRIU"
	for _, s := range stages {
		if strings.Contains(string(log), s.line) {
			name = s.name
		}
	}
	return name
}

// strike kills, and returns the pid of the CRIU that was at work.
func strike(victim string, cmd *exec.Cmd) int {
	worker := child(cmd.Process.Pid, "swrk")
	switch victim {
	case "checkpointctl":
		kill(cmd.Process.Pid)
	case "CRIU":
		kill(worker)
	case "both":
		kill(cmd.Process.Pid)
		kill(worker)
	case "a child of CRIU":
		kill(child(worker, ""))
	case "checkpointctl, SIGINT":
		_ = cmd.Process.Signal(unix.SIGINT)
	case "checkpointctl, SIGTERM":
		_ = cmd.Process.Signal(unix.SIGTERM)
	}
	return worker
}

func sorted[V any](m map[[2]string]V) [][2]string {
	order := []string{"before CRIU"}
	for _, s := range stages {
		order = append(order, s.name)
	}
	order = append(order, "before the rename", "published")
	var keys [][2]string
	for k := range m {
		keys = append(keys, k)
	}
	slices.SortFunc(keys, func(a, b [2]string) int {
		if c := strings.Compare(a[0], b[0]); c != 0 {
			return c
		}
		return slices.Index(order, a[1]) - slices.Index(order, b[1])
	})
	return keys
}
