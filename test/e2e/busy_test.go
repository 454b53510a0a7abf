//go:build e2e

package e2e

import (
	"fmt"
	"net"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"
)

// At almost every moment a connection waits for a server to accept it, if clients
// connect anew all the time. The checkpoints succeed, and no client notices.
func TestBusyServer(t *testing.T) {
	t.Parallel()
	server := start(t, "--sysctl", "net.mptcp.enabled=0", baseImage, "sh", "-c", "exec /workload server >/dev/null")
	address := net.JoinHostPort(server.address(), "7000")
	if !until(10*time.Second, func() bool {
		c, err := net.Dial("tcp", address)
		return err == nil && c.Close() == nil
	}) {
		t.Fatalf("the server does not listen: %s", server.logs("5"))
	}
	// Else they run out of ports, on a fast machine.
	clients := start(t, "--sysctl", "net.ipv4.tcp_tw_reuse=1", "--sysctl", "net.ipv4.ip_local_port_range=1024 65535", baseImage, "/workload", "knock", address, "4")
	at := clients.await(100)
	n := times(12)
	for range n {
		server.checkpoint()
		at = clients.await(at)
	}
	if out := clients.logs("all"); strings.Contains(out, "failed") {
		t.Errorf("the clients say: %s", out)
	}
	waited := 0
	for _, r := range server.list() {
		log := server.must(0, "logs", server.name, r.Checkpoint).stdout
		waited += strings.Count(log, "Skipping in-flight connection (l)")
	}
	if waited == 0 {
		t.Errorf("no connection waited to be accepted in %d checkpoints: the test shows nothing", n)
	}
	t.Logf("%d checkpoints, in which %d connections waited to be accepted, beside %d connections of the clients", n, waited, at)
}

// times is how often a test repeats what may fail now and then: more by hand.
func times(few int) int {
	if n, err := strconv.Atoi(os.Getenv("CHECKPOINTCTL_E2E_ROUNDS")); err == nil {
		return n
	}
	return few
}

// A health check is a docker exec that may begin, run or end at any moment of a
// checkpoint. None fails by it, and the container stays healthy.
func TestCheckpointsBesideAHealthCheck(t *testing.T) {
	t.Parallel()
	b := start(t, "--health-cmd", "true", "--health-interval", "1s", "--health-timeout", "30s", baseImage, "sh", "-c", counting)
	healthy := func() bool { return b.inspect().State.Health.Status == "healthy" }
	if !until(20*time.Second, healthy) {
		t.Fatalf("health: %+v", b.inspect().State.Health)
	}
	at, n := b.await(3), times(8)
	for i := range n {
		name := fmt.Sprint("c", i)
		if r := b.must(0, "checkpoint", b.name, "--name", name); strings.Contains(r.stderr, "docker exec") {
			t.Errorf("a health check is no exec to speak of: %s", r.stderr)
		}
		at = b.await(at)
		b.must(0, "rm", b.name, name)
	}
	if !until(20*time.Second, healthy) {
		t.Errorf("health after %d checkpoints: %+v", n, b.inspect().State.Health)
	}
}
