//go:build e2e && soak

package e2e

import (
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"strconv"
	"testing"
	"time"

	"github.com/checkpointctl/checkpointctl/internal/runtime"
)

// TestSoakRestores kills at random times of restores, and prints rows of the same
// table. After each the files of the container are compared byte for byte, Docker
// must answer, and the container must be restorable and startable.
func TestSoakRestores(t *testing.T) {
	runs, err := strconv.Atoi(os.Getenv("SOAK_RUNS"))
	if err != nil {
		t.Fatal(err)
	}
	p := newPrecious(t)
	took := timed(func() { p.restore() })
	p.kill()
	counts := map[[2]string]outcome{}
	victims := map[string]func(*held) int{
		"checkpointctl": func(h *held) int { return h.cmd.Process.Pid },
		"agent":         (*held).agent,
		"stand-in":      func(*held) int { return withArgument("/runc\x00", p.id) },
		"runc":          func(h *held) int { return h.noted().Runc.PID },
		"CRIU":          func(h *held) int { return restoring(h.noted()) },
		"init":          func(h *held) int { return h.noted().Init.PID },
		"shim":          (*held).shim,
	}
	for range (runs + len(victims) - 1) / len(victims) {
		for name, victim := range victims {
			if end, ok := t.Deadline(); ok && time.Until(end) < 2*time.Minute {
				break
			}
			h := &held{p: p, cmd: exec.Command(binary, "--dir", p.store, "restore", p.name), control: runtime.ControlOf(p.id)}
			if err := h.cmd.Start(); err != nil {
				t.Fatal(err)
			}
			time.Sleep(time.Duration(rand.Int64N(int64(took))))
			stage, pid := h.stage(), victim(h)
			kill(pid)
			_ = h.cmd.Wait()
			c := counts[[2]string{"restore: " + name, stage}]
			c.tried++
			if exists(h.control.Dir) {
				c.recovered++
			}
			t.Logf("killed: %s, %s", name, stage)
			p.comesBack() // fails the test if it does not
			c.survived++
			counts[[2]string{"restore: " + name, stage}] = c
		}
	}
	p.recovers()
	for _, key := range sorted(counts) {
		c := counts[key]
		fmt.Fprintf(os.Stdout, "soak| %s | %s | %d | %d | %d |\n", key[0], key[1], c.tried, c.survived, c.recovered)
	}
}

// noted are the processes of the restore that are known yet.
func (h *held) noted() runtime.Tasks {
	tasks, _ := h.control.Noted()
	return tasks
}

// restoring is runc's CRIU, also when it did not come to its last hook yet.
func restoring(tasks runtime.Tasks) int {
	if tasks.CRIU.PID > 0 {
		return tasks.CRIU.PID
	}
	return child(tasks.Runc.PID, "criu")
}

// stage is how far the restore has got.
func (h *held) stage() string {
	tasks, err := h.control.Noted()
	switch {
	case !exists(h.control.Dir):
		return "before or after the restore"
	case err == nil && tasks.Init.PID > 0:
		return "init exists"
	case h.control.Claimed():
		return "claimed"
	}
	return "asked for"
}
