//go:build e2e

package e2e

import (
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// connected starts a server and a client that hold one connection.
func connected(t *testing.T) (server, client *box) {
	t.Helper()
	// CRIU cannot dump MPTCP sockets, as Go's listeners are.
	server = start(t, "-e", "GODEBUG=multipathtcp=0", baseImage, "/workload", "server")
	ip := server.address()
	client = start(t, baseImage, "/workload", "client", ip+":7000")
	client.await(8)
	return server, client
}

// Not parallel: another container could take the client's address while it is
// stopped.
func TestEstablishedTCP(t *testing.T) {
	server, client := connected(t)
	at := client.await(client.count())
	client.checkpoint()
	client.await(at + 3) // the same connection goes on at once
	at = client.await(client.count())
	client.checkpoint("--leave-running=false")
	client.restore()
	client.goesOn(at)
	client.await(at + 10)
	if n := strings.Count(server.logs("all"), "accepted"); n != 1 {
		t.Errorf("%d connections, want the one", n)
	}
	if strings.Contains(server.logs("all"), "closed") {
		t.Error("the server saw the connection closed")
	}
	if _, err := os.Stat(runcConf); err == nil {
		t.Errorf("%s is left over", runcConf)
	}
}

func TestTCPClose(t *testing.T) {
	_, client := connected(t)
	client.checkpoint("--leave-running=false")
	r := client.must(0, "restore", client.name, "--tcp-close")
	if !until(5*time.Second, func() bool { return strings.Contains(client.logs("all"), "connection lost") }) {
		t.Errorf("the client did not see its connection closed: %s", r.stderr)
	}
}

func TestEstablishedTCPWithoutTheOption(t *testing.T) {
	_, client := connected(t)
	client.untouched(func() {
		r := client.must(22, "checkpoint", client.name, "--tcp-established=false")
		if !strings.Contains(r.stderr, "hint: an established TCP connection") {
			t.Errorf("stderr: %s", r.stderr)
		}
	})
	if r := client.must(0, "logs", client.name, "--errors"); !strings.Contains(r.stdout, "tcp-established") {
		t.Errorf("logs --errors: %s", r.stdout)
	}
}

func TestFileLock(t *testing.T) {
	t.Parallel()
	b := start(t, baseImage, "/workload", "lock", "/tmp/lock")
	held := func() {
		t.Helper()
		if out := docker(t, "exec", b.name, "/workload", "trylock", "/tmp/lock"); out != "held" {
			t.Errorf("the lock is %s", out)
		}
	}
	at := b.await(8)
	b.untouched(func() {
		if r := b.must(22, "checkpoint", b.name, "--file-locks=false"); !strings.Contains(r.stderr, "file lock") {
			t.Errorf("stderr: %s", r.stderr)
		}
	})
	b.checkpoint()
	held()
	b.kill()
	b.restore()
	b.goesOn(at)
	held()
}

// Not parallel, as TestEstablishedTCP: the client keeps its connection open.
func TestNginx(t *testing.T) {
	b := start(t, "-p", "127.0.0.1::80", appsImage, "nginx", "-c", "/nginx.conf", "-e", "/dev/stderr")
	answers := func() {
		t.Helper()
		// Docker may publish another port after a restore.
		address := strings.Split(docker(t, "port", b.name, "80"), "\n")[0]
		var last error
		for range 100 * slow {
			r, err := http.Get("http://" + address + "/")
			if err == nil {
				body, _ := io.ReadAll(r.Body)
				_ = r.Body.Close()
				if string(body) != "served\n" {
					t.Fatalf("answers %q", body)
				}
				return
			}
			last = err
			time.Sleep(50 * time.Millisecond)
		}
		t.Fatalf("%v: %s", last, b.logs("all"))
	}
	answers()
	b.checkpoint()
	answers()
	b.kill()
	b.restore()
	answers()
}

func TestRedis(t *testing.T) {
	t.Parallel()
	b := start(t, appsImage, "redis-server", "--save", "", "--appendonly", "no")
	ask := func(want string, args ...string) {
		t.Helper()
		got := ""
		if !until(5*time.Second, func() bool {
			got = docker(t, append([]string{"exec", b.name, "sh", "-c", `redis-cli "$@" 2>&1 || true`, "-"}, args...)...)
			return got == want
		}) {
			t.Fatalf("%v: %q, want %q", args, got, want)
		}
	}
	ask("PONG", "ping")
	ask("OK", "set", "key", "kept")
	b.checkpoint()
	ask("OK", "set", "key", "lost")
	b.kill()
	b.restore()
	ask("kept", "get", "key")
}

func TestPythonProcesses(t *testing.T) {
	t.Parallel()
	b := start(t, appsImage, "python3", "/workers.py")
	at := b.await(8)
	b.checkpoint()
	b.await(b.count())
	b.kill()
	b.restore()
	b.goesOn(at)
	if n := len(strings.Split(docker(t, "top", b.name), "\n")) - 1; n != 3 {
		t.Errorf("%d processes, want 3", n)
	}
}

func TestVolumeThatChanges(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	file := filepath.Join(dir, "word")
	if err := os.WriteFile(file, []byte("old\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	b := start(t, "-v", dir+":/data", baseImage, "sh", "-c", `while :; do read -r word </data/word; echo $word; sleep 0.1; done`)
	says := func(want string) {
		t.Helper()
		if !until(5*time.Second, func() bool { return b.logs("1") == want }) {
			t.Fatalf("does not say %s", want)
		}
	}
	says("old")
	b.checkpoint("--leave-running=false")
	if err := os.WriteFile(file, []byte("new\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	if r := b.must(0, "restore", b.name); !strings.Contains(r.stderr, "too: 1 file, /data/word (changed)") {
		t.Errorf("stderr: %s", r.stderr)
	}
	says("new")
}

func TestMemoryIsRight(t *testing.T) {
	t.Parallel()
	b := start(t, baseImage, "/workload", "memory", "48", "64")
	at := b.await(8)
	b.checkpoint()
	b.kill()
	b.restore()
	b.await(at + 45) // past two of its own checks
	r := b.list()[0]
	if r.SizeBytes < 48<<20 || r.SizeBytes > 64<<20 || r.Stats.PagesWritten < 112<<20/4096 {
		t.Errorf("48 MiB of data and 64 of zeros: %d pages, size_bytes %d", r.Stats.PagesWritten, r.SizeBytes)
	}
}
