//go:build e2e

package e2e

import (
	"strings"
	"testing"
)

// A group comes back as a whole, the owner of a network namespace first, and its
// members go on from where they were.
func TestRestoreOfAGroup(t *testing.T) {
	t.Parallel()
	owner := start(t, baseImage, "sh", "-c", counting)
	guest := start(t, "--network", "container:"+owner.name, baseImage, "sh", "-c", counting)
	guest.store = owner.store
	at := map[*box]int{owner: owner.await(8), guest: guest.await(8)}
	owner.must(0, "checkpoint", guest.name, owner.name, "--consistent", "--leave-running=false", "--name", "x")

	plan := owner.must(0, "restore", "--group", guest.name+"/x", "--dry-run").stdout
	first, second := strings.Index(plan, owner.name+"/x"), strings.Index(plan, guest.name+"/x")
	if first < 0 || second < first {
		t.Errorf("plan: %s", plan)
	}
	for _, args := range [][]string{{"--group", guest.name + "/x"}, {guest.name, owner.name}} {
		owner.must(0, append([]string{"restore"}, args...)...)
		for b, n := range at {
			b.goesOn(n)
			b.kill()
		}
	}
}

// One of several cannot come back: Docker finds its port taken. What was started
// before it is stopped again, and all can be restored when the port is free.
func TestRestoreOfAllOrNone(t *testing.T) {
	t.Parallel()
	a := start(t, baseImage, "sh", "-c", counting)
	b, port := published(t, "sh", "-c", counting)
	b.store = a.store
	at := a.await(8)
	a.must(0, "checkpoint", a.name, b.name, "--consistent", "--leave-running=false", "--name", "x")
	thief := start(t, "-p", port+":7000", baseImage, "sh", "-c", counting)
	b.remove() // the host's port was one of Docker's choice
	docker(t, "create", "--name", b.name, "-p", port+":7000", baseImage, "sh", "-c", counting)
	r := a.must(23, "restore", a.name, b.name)
	if !strings.Contains(r.stderr, b.name+": restore failed, the container is stopped") || !strings.Contains(r.stderr, "the containers restored before it are stopped again: "+a.name) {
		t.Errorf("stderr: %s", r.stderr)
	}
	if a.state() != "exited" || b.state() == "running" {
		t.Errorf("%s, %s", a.state(), b.state())
	}
	thief.remove()
	a.must(0, "restore", a.name, b.name)
	a.goesOn(at)
	b.await(at)
}

// Two that talk to each other in one network namespace are frozen at one moment.
// None hears of the other until both are back: their connection goes on.
func TestConnectionWithinAGroup(t *testing.T) {
	t.Parallel()
	reader := start(t, "-e", "GODEBUG=multipathtcp=0", baseImage, "/workload", "server")
	writer := start(t, "--network", "container:"+reader.name, baseImage, "/workload", "client", "127.0.0.1:7000")
	writer.store = reader.store
	writer.await(5)
	reader.must(0, "checkpoint", writer.name, reader.name, "--consistent", "--leave-running=false", "--name", "x")
	for range 3 {
		at := writer.count()
		accepted, closed := strings.Count(reader.logs("all"), "accepted"), strings.Count(reader.logs("all"), "closed")
		reader.must(0, "restore", "--group", reader.name+"/x")
		writer.await(at + 10)
		if a, c := strings.Count(reader.logs("all"), "accepted"), strings.Count(reader.logs("all"), "closed"); a != accepted || c != closed {
			t.Errorf("%d connections, want %d; %d closed, want %d: %s", a, accepted, c, closed, writer.logs("3"))
		}
		if r := reader.must(0, "repair", "--dry-run"); strings.Contains(r.stdout, "network lock") {
			t.Errorf("left over: %s", r.stdout)
		}
		reader.kill()
		writer.kill()
	}
}
