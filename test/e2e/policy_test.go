//go:build e2e

package e2e

import (
	"strings"
	"syscall"
	"testing"
	"time"
)

// A container with a restart policy stays stopped after its checkpoint, and its
// connection goes on when it is restored.
func TestRestartPolicy(t *testing.T) {
	t.Parallel()
	for _, policy := range []string{"always", "unless-stopped", "on-failure"} {
		t.Run(policy, func(t *testing.T) {
			t.Parallel()
			keepsRestartPolicy(t, policy)
		})
	}
}

func keepsRestartPolicy(t *testing.T, policy string) {
	// On a network of its own: another container could take its address while it is
	// stopped.
	network := prefix + policy
	docker(t, "network", "create", network)
	t.Cleanup(func() { docker(t, "network", "rm", network) })
	server := start(t, "--network", network, "--restart", policy, "-e", "GODEBUG=multipathtcp=0", baseImage, "/workload", "server")
	client := start(t, "--network", network, "--restart", policy, baseImage, "/workload", "client", server.address()+":7000")
	client.store = server.store
	for _, b := range []*box{client, server} {
		at := client.await(client.count() + 6)
		b.checkpoint("--leave-running=false", "--name", "x")
		time.Sleep(time.Second) // Docker waits 100 ms before it starts one afresh
		if c := b.inspect(); c.State.Status != "exited" || c.RestartCount != 0 || c.HostConfig.RestartPolicy.Name != "" && string(c.HostConfig.RestartPolicy.Name) != policy {
			t.Errorf("%s: %s, started afresh %d times, policy %v", policy, c.State.Status, c.RestartCount, c.HostConfig.RestartPolicy)
		}
		b.restore("x")
		client.await(at + 5)
	}
	if log := server.logs("all"); strings.Count(log, "accepted") != 1 || strings.Contains(log, "closed") {
		t.Errorf("%s: the connection did not go on: %s", policy, log)
	}
	// The restored container has its policy.
	pid := server.inspect().State.Pid
	if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	if !until(10*time.Second, func() bool {
		c := server.inspect()
		return c.State.Running && c.State.Pid != pid && c.RestartCount == 1
	}) {
		t.Errorf("%s: killed, and not started afresh: %+v", policy, server.inspect().State)
	}
}

// Members of a group with restart policies are stopped together.
func TestRestartPolicyInAGroup(t *testing.T) {
	t.Parallel()
	kept := start(t, "--restart", "always", baseImage, "sh", "-c", counting)
	plain := start(t, baseImage, "sh", "-c", counting)
	plain.store = kept.store
	kept.await(8)
	plain.await(8)
	kept.must(0, "checkpoint", kept.name, plain.name, "--consistent", "--leave-running=false", "--name", "x")
	time.Sleep(2 * time.Second)
	for _, b := range []*box{kept, plain} {
		if c := b.inspect(); c.State.Status != "exited" || c.RestartCount != 0 {
			t.Errorf("%s, started afresh %d times", c.State.Status, c.RestartCount)
		}
		at := b.count()
		b.restore("x")
		b.goesOn(at)
	}
}
