//go:build e2e

package e2e

import (
	"net"
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
	for range 20 {
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
		t.Error("no connection waited to be accepted in 20 checkpoints: the test shows nothing")
	}
}
