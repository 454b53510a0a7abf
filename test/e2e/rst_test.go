//go:build e2e

package e2e

import (
	"errors"
	"net"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"
)

// Docker brings up the interface of a container that it restores before CRIU has
// its sockets. What a peer sends meanwhile must be lost, not answered by a reset,
// which would end the connection. Up to Docker 27 it knows the container's hardware
// address beforehand.
func TestNoPacketIsRefusedInARestore(t *testing.T) {
	server, client := connected(t)
	at := server.endpoint()
	server.checkpoint("--leave-running=false")
	counted := client.count()
	// The host's packets do not wait for an answer to ARP. From 28 on Docker chooses
	// another address at each start.
	if dockerVersion(t) < 28 {
		if out, err := exec.Command("ip", "neigh", "replace", at.IPAddress, "lladdr", at.MacAddress, "dev", "docker0", "nud", "permanent").CombinedOutput(); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
		t.Cleanup(func() { _ = exec.Command("ip", "neigh", "del", at.IPAddress, "dev", "docker0").Run() })
	}
	answered := make(chan int)
	go func() {
		refused := 0
		for end := time.Now().Add(time.Duration(slow) * time.Minute); time.Now().Before(end); {
			c, err := net.DialTimeout("tcp", at.IPAddress+":7000", 2*time.Millisecond)
			switch {
			case err == nil:
				_ = c.Close()
				answered <- refused
				return
			case errors.Is(err, syscall.ECONNREFUSED):
				refused++
			}
		}
		answered <- -1
	}()
	server.restore()
	if refused := <-answered; refused != 0 {
		t.Errorf("%d packets were refused; -1: none came through", refused)
	}
	client.await(counted + 5)
	if out, err := exec.Command("nsenter", "-t", server.pid(), "-n", "iptables", "-S").CombinedOutput(); err != nil || strings.Contains(string(out), "-A ") {
		t.Errorf("%v: rules are left over: %s", err, out)
	}
}
