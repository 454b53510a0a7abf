//go:build e2e

package e2e

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/checkpointctl/checkpointctl/internal/linux"
)

// execLoop has processes enter the container all the time, until the end of the
// test or until it is told to stop. It returns what went wrong.
func (b *box) execLoop() (stop func() []string) {
	done := make(chan struct{})
	var (
		loop  sync.WaitGroup
		wrong []string
	)
	loop.Add(1)
	go func() {
		defer loop.Done()
		for {
			select {
			case <-done:
				return
			default:
			}
			// runc lets nobody into a frozen container.
			out, err := exec.Command("timeout", "60", "docker", "exec", b.name, "true").CombinedOutput()
			if err != nil && !strings.Contains(string(out), "paused") {
				wrong = append(wrong, string(out)+err.Error())
			}
		}
	}()
	var once sync.Once
	stop = func() []string {
		once.Do(func() { close(done) })
		loop.Wait()
		return wrong
	}
	b.t.Cleanup(func() { stop() })
	return stop
}

// answers fails unless Docker tells the container's state at once.
func (b *box) answers() string {
	b.t.Helper()
	began := time.Now()
	out, err := exec.Command("timeout", "20", "docker", "inspect", "-f", "{{.State.Status}}", b.name).CombinedOutput()
	if took := time.Since(began); err != nil || took > 5*time.Second*time.Duration(slow) {
		b.t.Errorf("docker inspect took %s: %v: %s", took, err, out)
	}
	return strings.TrimSpace(string(out))
}

// A docker exec that has only begun is not frozen with the container, or Docker
// would wait for it, and everybody for Docker. Health checks are execs, too.
func TestConsistentGroupBesideExec(t *testing.T) {
	b := start(t, "--health-cmd", "true", "--health-interval", "1s", baseImage, "sh", "-c", counting)
	other := counter(t)
	b.await(8)
	stops := []func() []string{b.execLoop(), other.execLoop()}
	pid, otherPID := b.pid(), other.pid()
	taken, n := 0, times(8)
	for range n {
		r := b.ctl("checkpoint", b.name, other.name, "--consistent")
		if r.code == 0 {
			taken++
		} else {
			t.Logf("exit %d: %s", r.code, r.stderr)
		}
		for _, c := range []*box{b, other} {
			if state := c.answers(); state != "running" {
				t.Errorf("%s is %s", c.name, state)
			}
			if c.frozen() {
				t.Errorf("%s is frozen", c.name)
			}
		}
	}
	for _, stop := range stops {
		if wrong := stop(); len(wrong) > 0 {
			t.Errorf("docker exec: %d failed: %s", len(wrong), wrong[0])
		}
	}
	t.Logf("%d of %d taken", taken, n)
	if taken < n*3/4 {
		t.Errorf("%d of %d taken", taken, n)
	}
	if b.pid() != pid || other.pid() != otherPID {
		t.Error("a container was started again")
	}
	b.await(b.count())
	other.await(other.count())
	if !until(10*time.Second, func() bool { return b.inspect().State.Health.Status == "healthy" }) {
		t.Errorf("health: %+v", b.inspect().State.Health)
	}
}

// A version that had Docker pause containers could leave one that Docker cannot
// unpause: its docker exec is frozen before it has begun.
func TestRepairOfAPausedExec(t *testing.T) {
	b := counter(t)
	stop := b.execLoop()
	id := b.inspect().ID
	if err := os.Chmod(b.store, 0o700); err != nil {
		t.Fatal(err)
	}
	stuck := false
	t.Cleanup(func() {
		if f, err := linux.FindFreezer(id); err == nil && t.Failed() {
			_ = f.Thaw() // or the container stays
		}
	})
	for range 60 {
		if exec.Command("timeout", "20", "docker", "pause", b.name).Run() != nil {
			continue
		}
		if exec.Command("timeout", "3", "docker", "unpause", b.name).Run() != nil {
			stuck = true
			break
		}
	}
	if !stuck {
		t.Skip("this Docker unpaused 60 times")
	}
	if err := os.MkdirAll(filepath.Join(b.store, b.name), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(b.store, b.name, ".paused"), []byte(id), 0o600); err != nil {
		t.Fatal(err)
	}
	r := b.must(0, "repair")
	if !strings.Contains(r.stdout, "paused for a checkpoint") {
		t.Errorf("stdout %s", r.stdout)
	}
	if state := b.answers(); state != "running" {
		t.Errorf("is %s", state)
	}
	if wrong := stop(); len(wrong) > 0 {
		t.Logf("docker exec: %s", wrong[0])
	}
	b.await(b.count())
}

// What docker exec started does not descend from the container's first process:
// CRIU does not see it, and the checkpoint says so.
func TestExecIsNotPartOfTheCheckpoint(t *testing.T) {
	t.Parallel()
	b := counter(t)
	docker(t, "exec", "-d", b.name, "sleep", "1000")
	time.Sleep(3 * time.Second)
	r := b.must(0, "checkpoint", b.name)
	if !strings.Contains(r.stderr, "(sleep), which docker exec started, is not part of the checkpoint") {
		t.Errorf("stderr: %s", r.stderr)
	}
}
