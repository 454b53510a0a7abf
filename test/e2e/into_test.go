//go:build e2e

package e2e

import (
	"os/exec"
	"strings"
	"testing"
)

// create makes a container that does not run, with the store of another.
func (b *box) create(args ...string) *box {
	b.t.Helper()
	n := *b
	n.name = b.name + "-into"
	docker(b.t, append([]string{"create", "--name", n.name}, args...)...)
	b.t.Cleanup(n.remove)
	return &n
}

// into restores the newest checkpoint of b into another container.
func (b *box) into(n *box, args ...string) result {
	b.t.Helper()
	r := b.must(0, append([]string{"restore", b.name, "--into", n.name}, args...)...)
	if !strings.HasPrefix(r.stdout, b.name+"/") || n.state() != "running" {
		b.t.Fatalf("stdout %q, and it is %s", r.stdout, n.state())
	}
	return r
}

// The container of the checkpoint is gone; another with its settings goes on,
// with Docker's init, mounts of every kind and the volume of the old one.
func TestIntoAnotherContainer(t *testing.T) {
	t.Parallel()
	host, volume := t.TempDir(), namedVolume(t, "into")
	settings := []string{
		"--init", "-v", volume + ":/data", "-v", host + ":/host:ro", "-v", "/anonymous", "--tmpfs", "/run", "--cap-add", "NET_ADMIN",
		baseImage, "sh", "-c", counting,
	}
	b := start(t, settings...)
	at := b.await(8)
	b.checkpoint("--leave-running=false")
	hostname := b.inspect().Config.Hostname
	docker(t, "rm", b.name)
	n := b.create(settings...)

	plan := b.must(0, "restore", b.name+"/checkpoint1", "--into", n.name, "--dry-run")
	if !strings.Contains(plan.stdout, n.name) || !strings.Contains(plan.stderr, "but its processes go on with "+hostname) {
		t.Errorf("plan: %s%s", plan.stdout, plan.stderr)
	}
	if state := n.state(); state != "created" {
		t.Errorf("a dry run, and it is %s", state)
	}
	r := b.into(n)
	if !strings.Contains(r.stderr, "another container than the checkpoint's") || !strings.Contains(r.stderr, "the volume at /anonymous is") {
		t.Errorf("stderr: %s", r.stderr)
	}
	n.goesOn(at)
	// CRIU restores the hostname, too: what runs sees the old one.
	if got := docker(t, "exec", n.name, "hostname"); got != hostname {
		t.Errorf("hostname %s, was %s", got, hostname)
	}

	// It has checkpoints of its own, and the old ones can be restored again.
	at = n.await(n.count())
	n.checkpoint("--leave-running=false")
	n.restore()
	n.goesOn(at)
	n.kill()
	b.into(n)
	n.await(0)
}

// The store keeps the name that the container had.
func TestRestoreOfARenamedContainer(t *testing.T) {
	t.Parallel()
	b := start(t, baseImage, "sh", "-c", counting)
	at := b.await(8)
	b.checkpoint("--leave-running=false")
	n := *b
	n.name = b.name + "-into"
	docker(t, "rename", b.name, n.name)
	t.Cleanup(n.remove)
	if r := b.into(&n); r.stderr != "" {
		t.Errorf("stderr: %s", r.stderr)
	}
	n.goesOn(at)
}

func TestIntoAContainerThatDiffers(t *testing.T) {
	t.Parallel()
	volume := namedVolume(t, "differs")
	b := start(t, "-v", volume+":/data", baseImage, "sh", "-c", counting)
	b.await(8)
	b.checkpoint("--leave-running=false")
	for name, test := range map[string]struct {
		options []string
		want    string
	}{
		"user":       {[]string{"-v", volume + ":/data", "-u", "7"}, "user was root, is 7"},
		"cap_add":    {[]string{"-v", volume + ":/data", "--cap-add", "sys_time"}, "cap_add was none, is SYS_TIME"},
		"cap_drop":   {[]string{"-v", volume + ":/data", "--cap-drop", "chown"}, "cap_drop was none, is CHOWN"},
		"privileged": {[]string{"-v", volume + ":/data", "--privileged"}, "privileged was false, is true"},
		"read-only":  {[]string{"-v", volume + ":/data", "--read-only"}, "read-only root filesystem was false, is true"},
		"tty":        {[]string{"-v", volume + ":/data", "-t"}, "tty was false, is true"},
		"init":       {[]string{"-v", volume + ":/data", "--init"}, "init was false, is true"},
		"pid":        {[]string{"-v", volume + ":/data", "--pid", "host"}, "pid mode was private, is host"},
		"ipc":        {[]string{"-v", volume + ":/data", "--ipc", "host"}, "ipc mode was private, is host"},
		"network":    {[]string{"-v", volume + ":/data", "--network", "none"}, "network mode was a network of its own, is none"},
		"no mount":   {nil, "mount /data was a volume, is none"},
		"ro mount":   {[]string{"-v", volume + ":/data:ro"}, "mount /data was a volume, is a read-only volume"},
		"bind":       {[]string{"-v", t.TempDir() + ":/data"}, "mount /data was a volume, is a bind"},
		"more":       {[]string{"-v", volume + ":/data", "--tmpfs", "/more"}, "mount /more was none, is a tmpfs"},
	} {
		n := b.create(append(test.options, baseImage, "sh", "-c", counting)...)
		for _, dry := range []string{"--dry-run=false", "--dry-run"} {
			r := b.must(23, "restore", b.name, "--into", n.name, dry)
			if !strings.Contains(r.stderr, n.name+": "+test.want+"\n") {
				t.Errorf("%s: %s", name, r.stderr)
			}
		}
		if state := n.state(); state != "created" {
			t.Errorf("%s: refused, and it is %s", name, state)
		}
		n.remove()
	}
	n := b.create("-v", volume+":/data", appsImage, "sh", "-c", counting)
	if r := b.must(23, "restore", b.name, "--into", n.name); !strings.Contains(r.stderr, "is of a container of image sha256:") {
		t.Errorf("image: %s", r.stderr)
	}
}

// Connections need their address: where Docker gives another fixed one this is
// known before, where it chooses one CRIU finds out. Without them all goes on.
func TestIntoAnotherAddress(t *testing.T) {
	t.Parallel()
	const subnet = "10.214.77."
	network := prefix + "into"
	docker(t, "network", "create", "--subnet", subnet+"0/24", network)
	t.Cleanup(func() { _ = exec.Command("docker", "network", "rm", network).Run() })
	server := start(t, "--network", network, "--ip", subnet+"100", appsImage, "python3", "-c", `
import socket
s = socket.create_server(("", 7000))
held = []
while True:
    held.append(s.accept()); print(len(held), flush=True)
`)
	client := `
import socket, time
s = socket.create_connection(("` + subnet + `100", 7000))
s.setblocking(False)
n = 0
while True:
    n += 1
    try:
        s.send(b"x")
    except BlockingIOError:
        pass
    except OSError:
        n = max(n, 10000 + n % 10000)
    print(n, flush=True)
    time.sleep(0.1)
`
	b := start(t, "--network", network, "--ip", subnet+"20", appsImage, "python3", "-c", client)
	server.await(0)
	at := b.await(8)
	b.checkpoint() // and the container keeps its address

	fixed := b.create("--network", network, "--ip", subnet+"21", appsImage, "python3", "-c", client)
	for _, dry := range []string{"--dry-run=false", "--dry-run"} {
		r := b.must(23, "restore", b.name, "--into", fixed.name, dry)
		if !strings.Contains(r.stderr, "an established TCP connection of "+subnet+"20:") || !strings.Contains(r.stderr, "hint: --tcp-close closes established connections") {
			t.Errorf("fixed: %s", r.stderr)
		}
	}
	if state := fixed.state(); state != "created" {
		t.Errorf("refused, and it is %s", state)
	}
	r := b.into(fixed, "--tcp-close")
	if !strings.Contains(r.stderr, "its address is "+subnet+"21, the checkpoint's was "+subnet+"20") {
		t.Errorf("stderr: %s", r.stderr)
	}
	fixed.await(at + 10000)
	fixed.remove()

	chosen := b.create("--network", network, appsImage, "python3", "-c", client)
	r = b.must(23, "restore", b.name, "--into", chosen.name)
	if !strings.Contains(r.stderr, "Cannot assign requested address") || !strings.Contains(r.stderr, "close its connections with --tcp-close") {
		t.Errorf("chosen: %s", r.stderr)
	}
	b.into(chosen, "--tcp-close")
	chosen.await(at + 10000)
}
