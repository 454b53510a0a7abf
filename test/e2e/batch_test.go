//go:build e2e

package e2e

import (
	"encoding/json"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/checkpointctl/checkpointctl/internal/linux"
)

// Eight at once, of which two cannot be taken.
func TestEightContainers(t *testing.T) {
	label := prefix + "eight"
	var good []*box
	for range 6 {
		good = append(good, start(t, "--label", label, baseImage, "sh", "-c", counting))
	}
	hostPID := start(t, "--label", label, "--pid", "host", baseImage, "sh", "-c", counting)
	held := start(t, "--label", label, baseImage, "sh", "-c", counting)
	docker(t, "pause", held.name)
	b := good[0]
	names := []string{"checkpoint", "--name", "x", "--json", hostPID.name, held.name}
	at := map[string]int{}
	for _, g := range good {
		names = append(names, g.name)
		at[g.name] = g.await(8)
	}
	var results []struct {
		Container string  `json:"container"`
		OK        bool    `json:"ok"`
		Code      int     `json:"code"`
		Record    *record `json:"record"`
	}
	if err := json.Unmarshal([]byte(b.must(3, names...).stdout), &results); err != nil || len(results) != 8 {
		t.Fatalf("%d results, %v", len(results), err)
	}
	for i, r := range results {
		if failing := i < 2; r.OK == failing || failing && r.Code != 11 || !failing && (r.Record == nil || len(r.Record.Files) < 10) {
			t.Errorf("%+v", r)
		}
	}
	for _, g := range good {
		g.store = b.store
		g.await(at[g.name])
		g.must(0, "verify", g.name, "x")
	}
	for _, g := range good[4:] {
		g.kill()
		g.restore("x")
		g.goesOn(at[g.name])
	}
	if held.state() != "paused" || hostPID.state() != "running" {
		t.Errorf("left %s, %s", held.state(), hostPID.state())
	}
	// By a selector the paused one is left out, and the other one fails.
	r := b.must(3, "checkpoint", "--label", label, "--name", "y")
	if strings.Count(r.stdout, "/y\n") != 6 || !strings.Contains(r.stderr, hostPID.name+": ") || strings.Contains(r.stderr, held.name) {
		t.Errorf("stdout %s stderr %s", r.stdout, r.stderr)
	}
}

// pair is a writer and a reader with one connection and fixed addresses.
func pair(t *testing.T, third byte) (reader, writer *box) {
	t.Helper()
	network := prefix + "pair" + string(third)
	docker(t, "network", "create", "--subnet", "10.213.1"+string(third)+".0/24", network)
	t.Cleanup(func() { _ = exec.Command("docker", "network", "rm", network).Run() })
	address := func(host string) string { return "10.213.1" + string(third) + "." + host }
	reader = start(t, "--network", network, "--ip", address("10"), "-e", "GODEBUG=multipathtcp=0", baseImage, "/workload", "server")
	writer = start(t, "--network", network, "--ip", address("11"), baseImage, "/workload", "client", address("10")+":7000")
	reader.store = writer.store
	writer.await(1)
	return reader, writer
}

// goOn restores both ends and fails unless they go on with their connection.
func goOn(t *testing.T, reader, writer *box, at int) {
	t.Helper()
	accepted := strings.Count(reader.logs("all"), "accepted")
	closed := strings.Count(reader.logs("all"), "closed")
	// What the writer sends before the reader is there is sent again.
	writer.restore("x")
	reader.restore("x")
	writer.await(at + 3)
	if got := strings.Count(reader.logs("all"), "accepted"); got != accepted {
		t.Errorf("%d connections, want %d", got, accepted)
	}
	if got := strings.Count(reader.logs("all"), "closed"); got != closed {
		t.Errorf("%d closed, want %d: %s", got, closed, writer.logs("3"))
	}
}

// A group is taken at one moment: the numbers of both ends agree, or the
// writer would end.
func TestConsistentGroup(t *testing.T) {
	reader, writer := pair(t, '1')
	r := writer.must(0, "checkpoint", writer.name, reader.name, "--consistent", "--name", "x", "--concurrency", "1", "--json")
	var results []struct {
		Record struct {
			Group struct {
				ID       string   `json:"id"`
				Members  []string `json:"members"`
				SpreadUS int64    `json:"spread_us"`
				FrozenUS int64    `json:"frozen_us"`
			} `json:"group"`
		} `json:"record"`
	}
	if err := json.Unmarshal([]byte(r.stdout), &results); err != nil || len(results) != 2 {
		t.Fatalf("%v: %s", err, r.stdout)
	}
	g := results[0].Record.Group
	if g.ID == "" || g.ID != results[1].Record.Group.ID || len(g.Members) != 2 || g.FrozenUS <= g.SpreadUS {
		t.Errorf("group %+v", g)
	}
	t.Logf("spread %d us, frozen %d us", g.SpreadUS, g.FrozenUS)
	at := writer.await(writer.count() + 10) // they ran on
	if reader.state() != "running" || writer.state() != "running" {
		t.Errorf("%s, %s", reader.state(), writer.state())
	}
	reader.kill()
	writer.kill()
	// More than a dump takes has been counted since: agreeing by chance is out.
	goOn(t, reader, writer, at)
}

func TestConsistentGroupIsKilled(t *testing.T) {
	reader, writer := pair(t, '2')
	writer.must(0, "checkpoint", writer.name, reader.name, "--consistent", "--name", "x", "--concurrency", "1", "--leave-running=false")
	if reader.state() != "exited" || writer.state() != "exited" {
		t.Fatalf("%s, %s", reader.state(), writer.state())
	}
	goOn(t, reader, writer, writer.count())
}

// One member cannot be taken: CRIU finds out when all are frozen.
func TestConsistentGroupThatCannotBeTaken(t *testing.T) {
	t.Parallel()
	b := counter(t)
	other := counter(t)
	device := unknownDevice(t)
	holder := start(t, "--device", device, baseImage, "sh", "-c", "exec 3<>"+device+"; "+counting)
	holder.await(3)
	b.untouched(func() {
		for _, leave := range []string{"true", "false"} {
			r := b.must(22, "checkpoint", b.name, other.name, holder.name, "--consistent", "--leave-running="+leave)
			if r.stdout != "" || !strings.Contains(r.stderr, b.name+": not taken, since "+holder.name) || !strings.Contains(r.stderr, "of a kind that CRIU cannot dump") {
				t.Errorf("stdout %s stderr %s", r.stdout, r.stderr)
			}
		}
	})
	other.await(other.count())
	if list := b.list(); len(list) != 0 || holder.state() != "running" {
		t.Errorf("listed %v, %s", list, holder.state())
	}
}

// What a run leaves frozen that is killed, the next one lets run on.
func TestConsistentGroupWhoseRunIsKilled(t *testing.T) {
	t.Parallel()
	b := start(t, baseImage, "/workload", "memory", "128")
	b.await(8)
	other := counter(t)
	cmd := exec.Command(binary, "--dir", b.store, "checkpoint", b.name, other.name, "--consistent")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	b.untilFrozen()
	_ = cmd.Process.Signal(syscall.SIGKILL)
	_ = cmd.Wait()
	// Its CRIU notices, and leaves the tasks as they were: frozen.
	for range 100 * slow {
		if found, _ := filepath.Glob(filepath.Join(b.store, "*", ".frozen")); len(found) > 0 {
			break
		}
		time.Sleep(50 * time.Millisecond)
	}
	time.Sleep(time.Duration(slow) * time.Second)
	b.must(0, "checkpoint", b.name, "--name", "after")
	b.must(0, "checkpoint", other.name, "--name", "after")
	if b.state() != "running" || other.state() != "running" {
		t.Errorf("%s, %s", b.state(), other.state())
	}
	b.await(b.count())
	other.await(other.count())
	if found, _ := filepath.Glob(filepath.Join(b.store, "*", ".frozen")); len(found) > 0 {
		t.Errorf("left over: %v", found)
	}
	if _, err := os.Stat(filepath.Join(b.store, b.name, "after", "container.json")); err != nil {
		t.Error(err)
	}
}

func (b *box) frozen() bool {
	f, err := linux.FindFreezer(b.inspect().ID)
	return err == nil && f.Frozen()
}

func (b *box) untilFrozen() {
	b.t.Helper()
	f, err := linux.FindFreezer(b.inspect().ID)
	if err != nil {
		b.t.Fatal(err)
	}
	for range 20000 * slow {
		if f.Frozen() {
			return
		}
		time.Sleep(time.Millisecond / 2)
	}
	b.t.Fatalf("%s is never frozen", b.name)
}

// Ctrl-C in the middle, or the end of an ssh session: all run on, none is kept.
func TestConsistentGroupInterrupted(t *testing.T) {
	t.Parallel()
	b := start(t, baseImage, "/workload", "memory", "256")
	b.await(8)
	other := counter(t)
	signal.Notify(make(chan os.Signal, 1), syscall.SIGHUP) // under nohup it would be ignored, and so it is inherited
	for _, sig := range []syscall.Signal{syscall.SIGINT, syscall.SIGHUP} {
		b.untouched(func() {
			cmd := exec.Command(binary, "--dir", b.store, "checkpoint", b.name, other.name, "--consistent")
			cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			b.untilFrozen()
			_ = syscall.Kill(-cmd.Process.Pid, sig)
			_ = cmd.Wait()
			if code := cmd.ProcessState.ExitCode(); code != 130 {
				t.Errorf("%s: exit %d, want 130", sig, code)
			}
		})
	}
	other.await(other.count())
}

// Nobody reads what a group's checkpoint has to say: it is made all the same.
func TestConsistentGroupWhoseReaderIsGone(t *testing.T) {
	t.Parallel()
	b := counter(t)
	other := counter(t)
	read, write, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	read.Close()
	cmd := exec.Command(binary, "--dir", b.store, "checkpoint", b.name, other.name, "--consistent", "--name", "x")
	cmd.Stdout, cmd.Stderr = write, write
	err = cmd.Run()
	write.Close()
	if status, ok := cmd.ProcessState.Sys().(syscall.WaitStatus); !ok || status.Signaled() {
		t.Errorf("ended by a signal: %v", err)
	}
	for _, c := range []*box{b, other} {
		b.must(0, "verify", c.name, "x")
		if c.frozen() {
			t.Errorf("%s is frozen", c.name)
		}
		c.await(c.count())
	}
}
