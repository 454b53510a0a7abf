//go:build e2e

package e2e

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// Each kind of container is checkpointed running on, killed, and restored;
// then it is checkpointed and stopped in one, and restored again.
func TestKindsOfContainers(t *testing.T) {
	host := t.TempDir()
	if err := os.MkdirAll(filepath.Join(host, "sub"), 0o755); err != nil {
		t.Fatal(err)
	}
	neighbour := start(t, "--ipc", "shareable", baseImage, "sleep", "1000")
	volume := prefix + "volume"
	docker(t, "volume", "create", volume)
	t.Cleanup(func() { _ = exec.Command("docker", "volume", "rm", "-f", volume).Run() })
	t.Run("kinds", func(t *testing.T) {
		for name, options := range map[string][]string{
			"plain":               nil,
			"tty":                 {"-t"},
			"interactive":         {"-i"},
			"interactive tty":     {"-it"},
			"volume":              {"-v", volume + ":/data"},
			"host bind":           {"-v", host + ":/data"},
			"nested binds":        {"-v", host + ":/data", "-v", volume + ":/data/sub"},
			"bind over a symlink": {"-v", host + ":/link"},
			"bind by a symlink":   {"-v", host + ":/link/below"},
			"mount volume":        {"--mount", "type=volume,src=" + volume + ",dst=/data"},
			"tmpfs":               {"--tmpfs", "/tmp", "--mount", "type=tmpfs,dst=/data"},
			"read-only":           {"--read-only", "--tmpfs", "/tmp"},
			"network host":        {"--network", "host"},
			"network none":        {"--network", "none"},
			"network container":   {"--network", "container:" + neighbour.name},
			"ipc host":            {"--ipc", "host"},
			"ipc container":       {"--ipc", "container:" + neighbour.name},
			"cgroupns private":    {"--cgroupns", "private"},
			"uts host":            {"--uts", "host"},
			"init":                {"--init"},
			"device":              {"--device", "/dev/null:/dev/extra"},
			"limits":              {"-m", "64m", "--cpus", "0.5"},
		} {
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				b := start(t, append(options, baseImage, "sh", "-c", counting)...)
				at, seen := b.await(8), b.seen()
				b.checkpoint()
				b.await(b.count())
				b.kill()
				b.restore()
				b.goesOn(at)
				b.sees(seen)
				// Where all is slow, once is enough of all kinds but one.
				if slow > 1 && name != "plain" {
					return
				}
				b.checkpoint("--leave-running=false")
				if state := b.state(); state != "exited" {
					t.Fatalf("stopped, but %s", state)
				}
				at = b.count()
				b.restore()
				b.goesOn(at)
				b.sees(seen)
			})
		}
	})
}

// Processes of other users need CAP_SYS_RESOURCE, --privileged all of root's
// capabilities. Where root has not got them, the refusal is what is tested.
func TestContainersThatNeedAllOfRoot(t *testing.T) {
	if !rootHasSysResource(t) {
		b := start(t, "--user", "1000:1000", baseImage, "sh", "-c", counting)
		b.await(8)
		b.untouched(func() {
			if r := b.must(14, "checkpoint", b.name); !strings.Contains(r.stderr, "CAP_SYS_RESOURCE") {
				t.Errorf("stderr: %s", r.stderr)
			}
		})
		return
	}
	for name, options := range map[string][]string{
		"user":       {"--user", "1000:1000"},
		"privileged": {"--privileged"},
	} {
		t.Run(name, func(t *testing.T) {
			b := start(t, append(options, baseImage, "sh", "-c", counting)...)
			at := b.await(8)
			b.checkpoint()
			b.kill()
			b.restore()
			b.goesOn(at)
		})
	}
}

func rootHasSysResource(t *testing.T) bool {
	out := ctl(t, "check").stdout
	if !strings.Contains(out, "privileges") {
		t.Fatalf("check: %s", out)
	}
	return !strings.Contains(out, "without CAP_SYS_RESOURCE")
}

func TestDockerKnowsARestoredContainer(t *testing.T) {
	t.Parallel()
	b := start(t, "--restart", "no", baseImage, "sh", "-c", counting)
	at := b.await(8)
	b.checkpoint("--name", "before")
	b.kill()
	b.restore("before")
	b.goesOn(at)
	if out := docker(t, "exec", b.name, "echo", "hello"); out != "hello" {
		t.Errorf("exec: %q", out)
	}
	docker(t, "stop", "-t", "1", b.name)
	if state := b.state(); state != "exited" {
		t.Errorf("stopped, but %s", state)
	}
	docker(t, "start", b.name)
	b.await(0)
}

func TestFiveCheckpointsInAnyOrder(t *testing.T) {
	t.Parallel()
	b := start(t, baseImage, "sh", "-c", counting)
	at := map[string]int{}
	for _, name := range []string{"a", "b", "c", "d", "e"} {
		at[name] = b.await(b.count() + 2)
		b.checkpoint("--name", name)
	}
	list := b.list()
	if len(list) != 5 || list[0].Checkpoint != "a" || list[4].Checkpoint != "e" {
		t.Fatalf("list: %+v", list)
	}
	for _, r := range list {
		if r.SchemaVersion != 2 || len(r.ID) != 64 || r.Name != b.name || r.Stats.FrozenUS == 0 || len(r.Files) < 10 {
			t.Errorf("record: %+v", r)
		}
	}
	b.private()
	for _, name := range []string{"c", "a", "e", "b", "d"} {
		b.kill()
		b.restore(name)
		b.goesOn(at[name])
	}
	b.must(0, "verify", b.name)
	b.must(0, "rm", b.name, "a", "e")
	if left := b.list(); len(left) != 3 {
		t.Errorf("list after rm: %+v", left)
	}
}

func TestRestoreIntoANewContainerOfTheImage(t *testing.T) {
	t.Parallel()
	b := start(t, baseImage, "sh", "-c", counting)
	at := b.await(8)
	b.checkpoint("--leave-running=false")
	docker(t, "rm", b.name)
	docker(t, "create", "--name", b.name, baseImage, "sh", "-c", counting)
	r := b.must(0, "restore", b.name)
	if !strings.Contains(r.stderr, "newer container") {
		t.Errorf("stderr: %s", r.stderr)
	}
	if got := b.await(at); got > at+200 {
		t.Errorf("counts %d after %d", got, at)
	}
}

func TestInspect(t *testing.T) {
	t.Parallel()
	b := start(t, "-v", t.TempDir()+":/data", baseImage, "sh", "-c", counting)
	out := b.must(0, "inspect", b.name, "--json").stdout
	for _, want := range []string{`"path": "/data"`, `"action": "external"`, `"bundle_path": "/`, `"type": "mnt"`, `"ip": "`, b.pid()} {
		if !strings.Contains(out, want) {
			t.Errorf("no %s in %s", want, out)
		}
	}
	id := b.inspect().ID
	if short := b.must(0, "inspect", id[:12], "--json").stdout; short != out {
		t.Errorf("by ID prefix: %s", short)
	}
}

// The tmpfs of a container come back as they were, be they packed by the
// stand-in for tar or, with files in them, by tar itself.
func TestTmpfs(t *testing.T) {
	t.Parallel()
	b := start(t, "--tmpfs", "/empty:mode=1750,uid=7", "--tmpfs", "/links", "--tmpfs", "/files", baseImage, "sh", "-c",
		"ln -s /nowhere /links/a; mkdir -m 711 /links/b; mknod /links/c c 1 3; echo text >/files/d; ln /files/d /files/e; "+counting)
	at := b.await(8)
	const look = "stat -c '%n %F %a %u %g %t %T' /empty /links/* /files/* /dev/* | sort; readlink /links/a; readlink /dev/fd; cat /files/e"
	before := docker(t, "exec", b.name, "sh", "-c", look)
	b.checkpoint("--leave-running=false")
	b.restore()
	b.goesOn(at)
	if after := docker(t, "exec", b.name, "sh", "-c", look); after != before {
		t.Errorf("restored:\n%s\nwere:\n%s", after, before)
	}
	packers := map[byte]int{} // by the system that the gzip header names
	images, err := filepath.Glob(filepath.Join(b.store, b.name, "checkpoint1", "tmpfs-dev-*"))
	if err != nil {
		t.Fatal(err)
	}
	for _, image := range images {
		data, err := os.ReadFile(image)
		if err != nil || len(data) < 10 {
			t.Fatalf("%s: %d bytes, %v", image, len(data), err)
		}
		packers[data[9]]++
	}
	const unix, unknown = 3, 255 // RFC 1952; Go's compress/gzip writes the latter
	if packers[unknown] < 3 || packers[unix] < 1 {
		t.Errorf("packed by %v", packers)
	}
}
