//go:build e2e

package e2e

import (
	"encoding/json"
	"net"
	"strconv"
	"strings"
	"testing"
)

// named is a container that a test makes by restore --name, with the store of b.
func (b *box) named(suffix string) *box {
	n := *b
	n.name = b.name + "-" + suffix
	b.t.Cleanup(n.remove)
	return &n
}

// port is one that nothing listens on.
func port(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return strconv.Itoa(l.Addr().(*net.TCPAddr).Port)
}

// The container was removed; another one, made from the checkpoint, goes on.
func TestNewContainer(t *testing.T) {
	t.Parallel()
	volume := namedVolume(t, "anew")
	b := start(t, "-e", "SECRET=value", "-l", "app=shop", "--init", "-v", volume+":/data", "-v", "/anonymous", "--cap-drop", "MKNOD", "-p", port(t)+":80", baseImage, "sh", "-c", counting)
	at := b.await(8)
	b.checkpoint("--leave-running=false")
	docker(t, "rm", b.name)
	published := port(t)
	n := b.named("new")
	plan := b.must(0, "restore", b.name, "--name", n.name, "-p", published+":80", "--dry-run")
	if !strings.Contains(plan.stdout, n.name) || !strings.Contains(plan.stdout, volume) {
		t.Errorf("plan: %s", plan.stdout)
	}
	if got := docker(t, "ps", "-aq", "--filter", "name="+n.name); got != "" {
		t.Errorf("a dry run made %s", got)
	}
	if r := b.must(0, "restore", b.name, "--name", n.name, "-p", published+":80"); r.stdout != n.name+"\n" {
		t.Errorf("stdout %q", r.stdout)
	}
	n.goesOn(at)
	now := n.inspect()
	n.inItsCgroup()
	if now.Config.Labels["app"] != "shop" || now.Config.Image != baseImage || !strings.Contains(docker(t, "port", n.name), published) {
		t.Errorf("made %+v", now.Config)
	}
	if got := docker(t, "exec", n.name, "sh", "-c", "echo $SECRET"); got != "value" {
		t.Errorf("environment: %q", got)
	}
	// It is one like others: with checkpoints of its own.
	at = n.count()
	n.checkpoint("--leave-running=false")
	n.restore()
	n.goesOn(at)
}

// What stands against it is found before; what fails leaves nothing.
func TestNewContainerRefused(t *testing.T) {
	t.Parallel()
	network := prefix + "anew"
	docker(t, "network", "create", network)
	removeNetwork := func() { _ = dockerQuiet("network", "rm", network) }
	t.Cleanup(removeNetwork)
	taken := port(t)
	b := start(t, "--network", network, "-p", taken+":80", "-v", "/anonymous", baseImage, "sh", "-c", counting)
	b.await(8)
	b.checkpoint()
	n := b.named("new")
	nothing := func(what string) {
		t.Helper()
		if got := docker(t, "ps", "-aq", "--filter", "name="+n.name); got != "" {
			t.Errorf("%s: left over: %s", what, got)
		}
	}
	volumes := docker(t, "volume", "ls", "-q")
	r := b.must(23, "restore", b.name, "--name", n.name)
	if !strings.Contains(r.stderr, "port is already allocated") || !strings.Contains(r.stderr, n.name+", which was created for it, is removed") {
		t.Errorf("taken port: %s", r.stderr)
	}
	nothing("taken port")
	if now := docker(t, "volume", "ls", "-q"); len(strings.Fields(now)) > len(strings.Fields(volumes))+3 {
		t.Errorf("volumes left over: %s, were %s", now, volumes)
	}
	r = b.must(23, "restore", b.name, "--name", b.name)
	if !strings.Contains(r.stderr, "a container with that name exists") {
		t.Errorf("name: %s", r.stderr)
	}
	r = b.must(23, "restore", b.name, "--name", n.name, "--network", "none-such", "-p", port(t)+":80")
	if !strings.Contains(r.stderr, "network none-such does not exist on this host") {
		t.Errorf("network: %s", r.stderr)
	}
	r = b.must(23, "restore", b.name, "--name", n.name, "-p", port(t)+":80", "--exec-after", "exit 7")
	if !strings.Contains(r.stderr, "--exec-after in "+n.name+": exit status 7") {
		t.Errorf("hook: %s", r.stderr)
	}
	nothing("hook")
	b.must(2, "restore", b.name, "--clones", "2")
}

// Clones count on from one moment, each by itself, and the hook tells them apart.
func TestClones(t *testing.T) {
	t.Parallel()
	b := start(t, baseImage, "sh", "-c", counting)
	at := b.await(8)
	b.checkpoint()
	clones := []*box{b.named("c-1"), b.named("c-2"), b.named("c-3")}
	var plan []struct{ Container string }
	r := b.must(0, "restore", b.name, "--name", b.name+"-c", "--clones", "3", "--dry-run", "--json")
	if err := json.Unmarshal([]byte(r.stdout), &plan); err != nil || len(plan) != 3 || plan[2].Container != clones[2].name {
		t.Errorf("%v: %s", err, r.stdout)
	}
	r = b.must(0, "restore", b.name, "--name", b.name+"-c", "--clones", "3", "--exec-after", "hostname $CHECKPOINTCTL_NAME; echo $CHECKPOINTCTL_NAME >/name", "--log-format", "json")
	if want := b.name + "-c-1\n" + b.name + "-c-2\n" + b.name + "-c-3\n"; r.stdout != want || !strings.Contains(r.stderr, "clones share the hostname") {
		t.Errorf("stdout %q, stderr %q", r.stdout, r.stderr)
	}
	if n := strings.Count(r.stderr, `"event":"verified"`); n != 1 {
		t.Errorf("verified %d times: %s", n, r.stderr)
	}
	for _, n := range clones {
		n.goesOn(at - 1)
		if got := docker(t, "exec", n.name, "cat", "/name"); got != n.name {
			t.Errorf("name %q", got)
		}
	}
	// All or none: the third name is taken.
	docker(t, "rm", "-f", clones[0].name, clones[1].name)
	b.must(23, "restore", b.name, "--name", b.name+"-c", "--clones", "3", "--dry-run")
	b.must(23, "restore", b.name, "--name", b.name+"-c", "--clones", "3")
	if got := docker(t, "ps", "-aq", "--filter", "name="+clones[0].name, "--filter", "name="+clones[1].name); got != "" {
		t.Errorf("left over: %s", got)
	}
}
