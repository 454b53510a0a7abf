package runtime

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"testing"
	"time"
)

// pending is a restore below a directory of the test's own.
func pending(t *testing.T, root, name, link string) *Pending {
	t.Helper()
	p := &Pending{Control: Control{filepath.Join(root, name)}, link: link}
	if err := errors.Join(os.MkdirAll(p.Dir, 0o700), p.take()); err != nil {
		t.Fatal(err)
	}
	return p
}

func TestClaimOnce(t *testing.T) {
	c := Control{t.TempDir()}
	if err := c.Claim(); !errors.Is(err, os.ErrNotExist) || c.Pending() || c.Claimed() {
		t.Errorf("nothing pending: %v", err)
	}
	if err := c.Write(Request{ImageDir: "/images", HoldPackets: true}); err != nil || !c.Pending() || c.Claimed() {
		t.Fatal(err)
	}
	if err := c.Claim(); err != nil || c.Pending() || !c.Claimed() {
		t.Errorf("first: %v", err)
	}
	if err := c.Claim(); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("second: %v", err)
	}
	if req, err := c.Request(); err != nil || req.ImageDir != "/images" || !req.HoldPackets {
		t.Errorf("%+v, %v", req, err)
	}
	c.Unclaim()
	if c.Claimed() {
		t.Error("still claimed")
	}
}

func TestResult(t *testing.T) {
	c := Control{t.TempDir()}
	if _, err := c.Result(); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("none yet: %v", err)
	}
	want := Result{Error: "criu failed", Init: Task{PID: 7, StartTime: 1 << 60}}
	if err := c.SetResult(want); err != nil {
		t.Fatal(err)
	}
	if got, err := c.Result(); err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("%+v, %v", got, err)
	}
}

func TestOwned(t *testing.T) {
	root := t.TempDir()
	p := pending(t, root, "a", "")
	other := &Pending{Control: p.Control}
	if err := other.take(); !errors.Is(err, ErrBusy) || !p.Owned() {
		t.Errorf("taken twice: %v", err)
	}
	if err := p.owner.Close(); err != nil || p.Owned() {
		t.Errorf("owned after its end: %v", err)
	}
	agent, err := p.LockAgent()
	if err != nil || !p.AgentAlive() {
		t.Fatal(err)
	}
	if err := other.take(); !errors.Is(err, ErrBusy) {
		t.Errorf("taken from a living agent: %v", err)
	}
	if err := agent.Close(); err != nil || p.AgentAlive() {
		t.Errorf("alive after its end: %v", err)
	}
	if err := errors.Join(other.take(), other.Close()); err != nil {
		t.Error(err)
	}
	if err := other.take(); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("after the end: %v", err)
	}
}

// Only the start that is under way when checkpointctl is killed must not go on.
func TestWithdraw(t *testing.T) {
	c := Control{t.TempDir()}
	if c.Withdraw() {
		t.Error("withdrawn without a request")
	}
	if err := c.Write(Request{}); err != nil {
		t.Fatal(err)
	}
	if !c.Withdraw() || c.Pending() || c.Withdraw() {
		t.Error("a new one is not withdrawn, or twice")
	}
	if err := c.Write(Request{}); err != nil {
		t.Fatal(err)
	}
	old := time.Now().Add(-2 * inFlight)
	if err := os.Chtimes(c.Path(requestFile), old, old); err != nil {
		t.Fatal(err)
	}
	if c.Withdraw() {
		t.Error("an old one stands in the way of a start")
	}
}

func TestClear(t *testing.T) {
	p := pending(t, t.TempDir(), "a", "")
	if err := errors.Join(p.Write(Request{}), p.Claim(), os.MkdirAll(p.Path("work/x"), 0o700), p.clear()); err != nil {
		t.Fatal(err)
	}
	if entries, err := os.ReadDir(p.Dir); err != nil || len(entries) != 1 || !p.Owned() {
		t.Errorf("%v, %v", entries, err)
	}
}

// The link stays as long as any restore needs it.
func TestCloseKeepsNeededLink(t *testing.T) {
	root, bin := t.TempDir(), t.TempDir()
	standIn := program(t, filepath.Join(bin, "checkpointctl-runtime"))
	here, elsewhere := filepath.Join(bin, "runc"), filepath.Join(bin, "other")
	first, second, third := pending(t, root, "a", here), pending(t, root, "b", here), pending(t, root, "c", elsewhere)
	for _, p := range []*Pending{first, second, third} {
		if err := p.putLink(t.Context(), standIn); err != nil {
			t.Fatal(err)
		}
	}
	if to, err := os.Readlink(here); err != nil || to != standIn {
		t.Fatalf("%q, %v", to, err)
	}
	if err := first.Close(); err != nil || exists(first.Dir) || !exists(here) {
		t.Errorf("the first ends: %v", err)
	}
	if err := second.Close(); err != nil || exists(here) || !exists(elsewhere) {
		t.Errorf("the second ends: %v", err)
	}
	if err := third.Close(); err != nil || exists(elsewhere) || !exists(standIn) {
		t.Errorf("the third ends: %v", err)
	}
}

// Others may look for abandoned restores at any time.
func TestCloseBesideALook(t *testing.T) {
	root := t.TempDir()
	stop, looked := make(chan struct{}), make(chan int)
	go func() {
		taken := 0
		for other := (&Pending{Control: Control{filepath.Join(root, "a")}}); ; {
			select {
			case <-stop:
				looked <- taken
				return
			default:
			}
			if other.take() == nil {
				taken++
				_ = other.owner.Close()
			}
			time.Sleep(time.Duration(taken%50) * time.Microsecond)
		}
	}()
	for range 500 {
		p := &Pending{Control: Control{filepath.Join(root, "a")}}
		if err := p.begin(); err != nil {
			t.Fatal(err)
		}
		if err := errors.Join(p.Write(Request{}), p.Close()); err != nil {
			t.Fatal(err)
		}
	}
	close(stop)
	t.Logf("the other took it %d times", <-looked)
}

func TestCloseRemovesNoProgram(t *testing.T) {
	bin := t.TempDir()
	runc := filepath.Join(bin, "runc")
	p := pending(t, t.TempDir(), "a", runc)
	if err := p.putLink(t.Context(), "/nonexistent"); err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(runc); err != nil {
		t.Fatal(err)
	}
	program(t, runc) // installed meanwhile
	if err := p.Close(); err == nil || !exists(runc) || exists(p.Dir) {
		t.Errorf("got %v", err)
	}
}

// Recover removes what a killed checkpointctl left, and its link.
func TestRecover(t *testing.T) {
	root, bin := t.TempDir(), t.TempDir()
	runc := filepath.Join(bin, "runc")
	p := pending(t, root, "a", runc)
	if err := errors.Join(p.putLink(t.Context(), "/nonexistent"), p.Write(Request{})); err != nil {
		t.Fatal(err)
	}
	a := Abandoned{ID: "a", Dir: p.Dir}
	if err := a.Recover(); err != nil || !exists(p.Dir) || !exists(runc) {
		t.Errorf("in use: %v", err)
	}
	if err := errors.Join(p.owner.Close(), a.Recover()); err != nil || exists(p.Dir) || exists(runc) {
		t.Errorf("killed: %v", err)
	}
	if err := a.Recover(); err != nil || exists(p.Dir) {
		t.Errorf("gone: %v", err)
	}
}

// A run that was stopped in the middle does not stop the others for ever.
func TestFlockEndsWithTheContext(t *testing.T) {
	path := filepath.Join(t.TempDir(), "lock")
	first, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer first.Close()
	second, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer second.Close()
	if err := flock(t.Context(), first); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if err := flock(ctx, second); !errors.Is(err, context.DeadlineExceeded) {
		t.Error(err)
	}
	_ = first.Close()
	if err := flock(t.Context(), second); err != nil {
		t.Error(err)
	}
}
