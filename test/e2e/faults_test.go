//go:build e2e

package e2e

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// live is a container with random memory, some of it changing all the time,
// and a TCP connection to another container.
type live struct {
	*box
	client *box
	init   string // pid
}

func startLive(t *testing.T) *live {
	t.Helper()
	// CRIU cannot dump the sockets of multipath TCP.
	b := start(t, "-e", "GODEBUG=multipathtcp=0", baseImage, "sh", "-c", "/workload server & exec /workload dirty 16 1")
	b.await(8)
	ip := b.address()
	p := &live{box: b, client: start(t, baseImage, "/workload", "client", ip+":7000")}
	p.client.await(8)
	p.init = b.pid()
	return p
}

// on lets a subtest fail.
func (p *live) on(t *testing.T) { p.t, p.client.t = t, t }

// survived fails unless the container is the same process, its memory is
// right, its connection goes on, and nothing of a dump is left in it.
func (p *live) survived() {
	p.t.Helper()
	if now := p.pid(); now != p.init {
		p.t.Fatalf("pid was %s, is %s", p.init, now)
	}
	p.memoryIsRight()
	p.client.await(p.client.count() + 2)
	p.clean()
}

// reconnect is for a connection that a killed CRIU had in repair mode: reads
// and writes of the application fail until that is undone.
func (p *live) reconnect() {
	p.t.Helper()
	docker(p.t, "restart", "-t", "0", p.client.name)
}

// clean fails if a network lock or a frozen cgroup is left in the container.
func (b *box) clean() {
	b.t.Helper()
	pid := b.pid()
	for _, save := range []string{"iptables-save", "ip6tables-save"} {
		out, err := exec.Command("nsenter", "-t", pid, "-n", save).CombinedOutput()
		if err != nil || strings.Contains(string(out), "CRIU") {
			b.t.Errorf("%s: %v: %s", save, err, out)
		}
	}
	cgroups, err := os.ReadFile("/proc/" + pid + "/cgroup")
	if err != nil {
		b.t.Fatal(err)
	}
	for _, line := range strings.Fields(string(cgroups)) {
		f := strings.SplitN(line, ":", 3)
		for _, file := range []string{"/sys/fs/cgroup/freezer" + f[2] + "/freezer.state", "/sys/fs/cgroup" + f[2] + "/cgroup.freeze"} {
			if state, err := os.ReadFile(file); err == nil && strings.TrimSpace(string(state)) != "THAWED" && strings.TrimSpace(string(state)) != "0" {
				b.t.Errorf("%s: %s", file, state)
			}
		}
	}
}

// hidden lists what is in the container's directory in the store that is no
// checkpoint, lock or log of a failure.
func (b *box) hidden() string {
	var out []string
	entries, _ := os.ReadDir(filepath.Join(b.store, b.name))
	for _, e := range entries {
		if n := e.Name(); strings.HasPrefix(n, ".") && n != ".lock" && n != ".track" && !strings.HasPrefix(n, ".failed-") {
			out = append(out, n)
		}
	}
	return strings.Join(out, " ")
}

// recovered makes the next checkpoint, which undoes what a fault left, and
// removes it. So many others are listed by then.
func (p *live) recovered(want int) {
	p.t.Helper()
	if list := p.list(); len(list) != want {
		p.t.Errorf("listed: %+v", list)
	}
	p.checkpoint("--name", "next")
	p.must(0, "verify", p.name)
	p.survived()
	if left := p.hidden(); left != "" {
		p.t.Errorf("left in the store: %s", left)
	}
	for _, r := range p.list() {
		p.must(0, "rm", p.name, r.Checkpoint)
	}
}

// Nothing here is parallel: repair waits for the locks of others.

func TestKillAtEveryStage(t *testing.T) {
	p := startLive(t)
	for _, s := range stages {
		t.Run(s.name, func(t *testing.T) {
			p.on(t)
			// CRIU is killed: checkpointctl says so, and recovers.
			g := p.dumpTo(s)
			kill(g.worker)
			code, stderr := g.open()
			late := s.name == "thawed" && code == 0
			if !late && (code != 22 || !strings.Contains(stderr, "the container runs on")) {
				t.Errorf("exit %d: %s", code, stderr)
			}
			if s.repair {
				p.reconnect()
			}
			p.survived()
			if late {
				p.must(0, "rm", p.name, "gated")
			}
			// checkpointctl is killed: its CRIU finds out and resumes the tasks.
			g = p.dumpTo(s)
			_ = g.cmd.Process.Kill()
			g.open()
			if s.name == "thawed" { // or too late
				_ = p.ctl("rm", p.name, "gated")
			}
			p.recovered(0)
		})
	}
	p.on(t)
}

// Both are killed: connections stand still until the next run, or repair. One
// on which nothing is under way then goes on.
func TestKillOfBoth(t *testing.T) {
	p := startLive(t)
	ip := p.address()
	docker(t, "exec", "-d", p.client.name, "sh", "-c", "mkfifo /asked; sleep 10000 >/asked & exec nc "+ip+" 7000 </asked >/answered")
	ask := func(n int) {
		t.Helper()
		docker(t, "exec", p.client.name, "sh", "-c", "while [ ! -p /asked ]; do sleep 0.1; done; echo "+strconv.Itoa(n)+" >/asked")
		if !until(10*time.Second, func() bool {
			return strings.HasSuffix(docker(t, "exec", p.client.name, "cat", "/answered"), strconv.Itoa(n+1))
		}) {
			t.Errorf("no answer to %d", n)
		}
	}
	ask(5)
	g := p.dumpTo(at("socket in repair"))
	_ = g.cmd.Process.Kill()
	kill(g.worker)
	g.open()
	p.memoryIsRight()
	dry := p.must(0, "repair", "--dry-run").stdout
	for _, want := range []string{"network lock", "TCP sockets in repair mode", "incomplete checkpoint"} {
		if !strings.Contains(dry, want) {
			t.Errorf("repair --dry-run: no %s in %s", want, dry)
		}
	}
	if done := p.must(0, "repair").stdout; done != dry {
		t.Errorf("repair: %s, with --dry-run: %s", done, dry)
	}
	ask(7)
	if r := p.must(0, "repair"); strings.Contains(r.stdout, p.name) {
		t.Errorf("still to repair: %s", r.stdout)
	}
	p.reconnect()
	p.recovered(0)
}

// A run whose container is killed for it, and which is killed then, leaves a
// whole checkpoint.
func TestKillAfterTheContainerIsGone(t *testing.T) {
	b := dirty(t, "16", "1")
	g := b.dumpTo(stage{"stopped", "Dumping finished", false}, "--leave-running=false")
	_ = g.cmd.Process.Kill()
	g.open()
	until(5*time.Second, func() bool { return b.state() == "exited" })
	if list := b.list(); len(list) != 0 {
		t.Errorf("listed: %+v", list)
	}
	if r := b.must(0, "restore", b.name); !strings.Contains(r.stderr, "whole checkpoint") || r.stdout != b.name+"/gated\n" {
		t.Errorf("stdout %q stderr %q", r.stdout, r.stderr)
	}
	b.must(0, "verify", b.name)
	b.memoryIsRight()
	if left := b.hidden(); left != "" {
		t.Errorf("left in the store: %s", left)
	}
}

// The container ends in the middle of its dump.
func TestKillOfTheContainer(t *testing.T) {
	p := startLive(t)
	for _, s := range []stage{at("in the freeze"), at("pages")} {
		g := p.dumpTo(s)
		pid, _ := strconv.Atoi(p.init)
		kill(pid)
		if code, stderr := g.open(); code != 22 && code != 11 || strings.Contains(stderr, "runs on") {
			t.Errorf("%s: exit %d: %s", s.name, code, stderr)
		}
		docker(t, "wait", p.name)
		if list := p.list(); len(list) != 0 {
			t.Errorf("listed: %+v", list)
		}
		docker(t, "start", p.name)
		p.await(0)
		docker(t, "restart", "-t", "0", p.client.name)
		p.client.await(0)
		p.init = p.pid()
		p.recovered(0)
	}
}

// CRIU stands still: it is ended, and the container goes on.
func TestHungCRIU(t *testing.T) {
	p := startLive(t)
	for _, s := range []stage{at("in the parasite"), at("socket in repair")} {
		g := p.dumpTo(s, "--criu-hang-timeout", strconv.Itoa(slow)+"s")
		for range 1000 * slow { // nobody reads its log
			if !alive(g.worker) {
				break
			}
			time.Sleep(10 * time.Millisecond)
		}
		if code, stderr := g.open(); code != 22 ||
			!strings.Contains(stderr, "CRIU got no further") || !strings.Contains(stderr, "the container runs on") {
			t.Errorf("%s: exit %d: %s", s.name, code, stderr)
		}
		p.recovered(0)
	}
}

// CRIU's own faults: it fails where it is told to (fault-injection.h).
func TestFailingCRIU(t *testing.T) {
	p := startLive(t)
	for _, fault := range []string{"1", "3", "5", "136"} {
		cmd := exec.Command(binary, "--dir", p.store, "checkpoint", p.name, "--network-lock", "iptables")
		cmd.Env = append(os.Environ(), "CRIU_FAULT="+fault)
		r := execute(t, cmd)
		// 136 lets a dump that has failed crash, and this one does not fail.
		if failed := r.code == 22 && strings.Contains(r.stderr, "the container runs on"); failed == (fault == "136") {
			t.Errorf("fault %s: exit %d: %s", fault, r.code, r.stderr)
		}
		whole := 0
		if fault == "136" {
			whole = 1
		}
		p.recovered(whole)
	}
}

func TestTwoRunsAtOnce(t *testing.T) {
	p := startLive(t)
	g := p.dumpTo(at("pages"))
	if r := p.must(13, "checkpoint", p.name); !strings.Contains(r.stderr, "another checkpointctl") {
		t.Errorf("stderr: %s", r.stderr)
	}
	if r := p.must(0, "repair"); !strings.Contains(r.stdout, "at work") {
		t.Errorf("repair: %s", r.stdout)
	}
	if code, stderr := g.open(); code != 0 {
		t.Errorf("the first: exit %d: %s", code, stderr)
	}
	p.recovered(1)
	// The CRIU of a killed run holds the lock as long as it works.
	g = p.dumpTo(at("pages"))
	_ = g.cmd.Process.Kill()
	_ = g.cmd.Wait()
	p.must(13, "checkpoint", p.name)
	g.open()
	p.recovered(0)
}

func TestSignalsAtAnyTime(t *testing.T) {
	p := startLive(t)
	for i, s := range stages {
		sig := []unix.Signal{unix.SIGINT, unix.SIGTERM}[i%2]
		g := p.dumpTo(s)
		_ = unix.Kill(g.cmd.Process.Pid, sig)
		code, stderr := g.open()
		// Too late when the images are complete.
		done := code == 0 && (s.name == "images complete" || s.name == "thawed")
		if code != 130 && !done {
			t.Errorf("%s: exit %d: %s", s.name, code, stderr)
		}
		whole := 0
		if done {
			whole = 1
		}
		p.recovered(whole)
	}
}

// Rounds: only where the kernel tracks dirty pages.
func TestKillBetweenRounds(t *testing.T) {
	p := startLive(t)
	if !tracking(t, p.box) {
		return
	}
	for _, victim := range []string{"checkpointctl", "criu"} {
		cmd := exec.Command(binary, "--dir", p.store, "checkpoint", p.name, "--name", "gated", "--pre-dump", "--min-rounds", "1000", "--max-rounds", "1000")
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		awaitFile(t, filepath.Join(p.store, p.name, ".new-gated", "pre-dump", "3", "dump.log"))
		worker := child(cmd.Process.Pid, "swrk")
		if victim == "criu" {
			kill(worker)
		} else {
			_ = cmd.Process.Kill()
		}
		_ = cmd.Wait()
		for range 400 * slow {
			if !alive(worker) {
				break
			}
			time.Sleep(10 * time.Millisecond)
		}
		p.recovered(0)
	}
}

func awaitFile(t *testing.T, pattern string) {
	t.Helper()
	for range 10000 * slow {
		if found, _ := filepath.Glob(pattern); found != nil {
			return
		}
		time.Sleep(time.Millisecond)
	}
	t.Fatalf("no %s", pattern)
}

// An ip6tables-restore that is killed when it is to take the lock away: CRIU's dump
// succeeds all the same.
func TestKilledUnlock(t *testing.T) {
	p := startLive(t)
	const tool = "ip6tables-restore"
	its, err := exec.LookPath(tool)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	script := fmt.Sprintf("#!/bin/sh\nrules=$(cat)\ncase $(tr '\\0' ' ' </proc/$PPID/cmdline)$rules in *swrk*-[DX]*) kill -9 $$ ;; esac\necho \"$rules\" | %s \"$@\"\n", its)
	if err := os.WriteFile(filepath.Join(dir, tool), []byte(script), 0o755); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", dir+":"+os.Getenv("PATH"))
	r := p.must(0, "checkpoint", p.name)
	if !strings.Contains(r.stderr, "CRIU left its network lock, which is undone") {
		t.Errorf("stderr: %s", r.stderr)
	}
	p.survived()
}
