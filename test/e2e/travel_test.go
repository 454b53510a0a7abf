//go:build e2e

package e2e

import (
	"bufio"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// Where archives go to, or come from, when another Docker has the other half of a
// test; see test/dockers/travel.sh. Without them a test does both halves here.
const (
	saveArchives = "CHECKPOINTCTL_E2E_SAVE_ARCHIVES"
	archives     = "CHECKPOINTCTL_E2E_ARCHIVES"
)

// travel runs a container until its archive is made and nothing of it is left, and
// then what a container that was made from the archive must stand.
func travel(t *testing.T, name string, leave func(file string), arrive func(file string)) {
	dir := os.Getenv(archives)
	if dir == "" {
		if dir = os.Getenv(saveArchives); dir == "" {
			dir = t.TempDir()
		}
		leave(filepath.Join(dir, name))
	}
	if os.Getenv(saveArchives) == "" {
		arrive(filepath.Join(dir, name))
	}
}

// gone exports the newest checkpoint and removes the container with all it has.
func (b *box) gone(file string) {
	b.t.Helper()
	b.must(0, "export", b.name, "-o", file)
	docker(b.t, "rm", "-f", "-v", b.name)
	b.must(0, "rm", b.name, "checkpoint1")
}

// arrived imports an archive and makes a container from it.
func arrived(t *testing.T, file string, args ...string) *box {
	t.Helper()
	b := &box{t: t, name: prefix + strconv.FormatInt(serial.Add(1), 10), store: t.TempDir()}
	t.Cleanup(b.remove)
	b.must(0, "import", file, "--as", "travelled")
	b.must(0, append([]string{"restore", "travelled", "--name", b.name}, args...)...)
	return b
}

// increment counts up a key over one connection, as fast as the server answers,
// until the connection ends, and keeps the newest count that was answered.
func increment(address string, count *atomic.Int64) error {
	c, err := net.DialTimeout("tcp", address+":6379", 5*time.Second)
	if err != nil {
		return err
	}
	defer c.Close()
	for in := bufio.NewReader(c); ; {
		if _, err := fmt.Fprint(c, "INCR n\r\n"); err != nil {
			return err
		}
		_ = c.SetReadDeadline(time.Now().Add(10 * time.Second))
		line, err := in.ReadString('\n')
		if err != nil {
			return err
		}
		n, err := strconv.ParseInt(strings.TrimSpace(strings.TrimPrefix(line, ":")), 10, 64)
		if err != nil {
			return errors.New(line)
		}
		count.Store(n)
	}
}

func (b *box) redis(args ...string) string {
	b.t.Helper()
	return docker(b.t, append([]string{"exec", b.name, "redis-cli"}, args...)...)
}

// Redis with its append-only file, in the layer and once more in a volume,
// checkpointed under load: all that was answered is there, in memory and in the
// file.
func TestRedisTravels(t *testing.T) {
	t.Parallel()
	for name, options := range map[string][]string{"redis-layer": nil, "redis-volume": {"-v", "/data"}} {
		leave := func(file string) {
			b := start(t, append(options, appsImage, "redis-server", "--dir", "/data", "--save", "", "--appendonly", "yes", "--protected-mode", "no", "--bind", "0.0.0.0")...)
			var answered atomic.Int64
			ended := make(chan error, 1)
			if !until(10*time.Second, func() bool {
				c, err := net.Dial("tcp", b.address()+":6379")
				return err == nil && c.Close() == nil
			}) {
				t.Fatal("redis does not listen")
			}
			go func() { ended <- increment(b.address(), &answered) }()
			if !until(10*time.Second, func() bool { return answered.Load() > 500 }) {
				t.Fatal("redis does not count")
			}
			b.checkpoint("--leave-running=false", "--volumes")
			if err := os.WriteFile(file+".answered", []byte(strconv.FormatInt(answered.Load(), 10)), 0o600); err != nil {
				t.Fatal(err)
			}
			b.gone(file)
			if err := <-ended; err == nil {
				t.Error("the client does not hear that redis is gone")
			}
		}
		arrive := func(file string) {
			data, err := os.ReadFile(file + ".answered")
			if err != nil {
				t.Fatal(err)
			}
			answered, err := strconv.Atoi(string(data))
			if err != nil {
				t.Fatal(err)
			}
			b := arrived(t, file, "--tcp-close")
			n, err := strconv.Atoi(b.redis("get", "n"))
			if err != nil || n < answered || n > answered+1 {
				t.Errorf("%s: n is %d (%v), %d were answered", name, n, err, answered)
			}
			if got := b.redis("incr", "n"); got != strconv.Itoa(n+1) {
				t.Errorf("%s: incr: %s", name, got)
			}
			check := docker(t, "exec", b.name, "sh", "-c", "redis-check-aof /data/appendonlydir/appendonly.aof.manifest")
			if !strings.Contains(check, "are valid") {
				t.Errorf("%s: %s", name, check)
			}
			// The file alone gives the same.
			docker(t, "restart", "-t", "5", b.name)
			got := ""
			if !until(10*time.Second, func() bool {
				got = docker(t, "exec", b.name, "sh", "-c", "redis-cli get n 2>&1 || true")
				return got == strconv.Itoa(n+1)
			}) {
				t.Errorf("%s: from the file n is %s, want %d", name, got, n+1)
			}
		}
		travel(t, name, leave, arrive)
	}
}

// nginx with a changed configuration and an access log.
func TestNginxTravels(t *testing.T) {
	t.Parallel()
	travel(t, "nginx", func(file string) {
		b := start(t, appsImage, "nginx", "-c", "/nginx.conf", "-e", "/dev/stderr")
		if !b.serves("served") {
			t.Fatal("nginx does not serve")
		}
		docker(t, "exec", b.name, "sh", "-c", `sed -i 's/served/changed/; s,access_log off,access_log /var/log/nginx/access.log,' /nginx.conf && nginx -c /nginx.conf -e /dev/stderr -s reload`)
		if !b.serves("changed") {
			t.Fatal("nginx does not serve what was changed")
		}
		b.checkpoint("--leave-running=false", "--tcp-established")
		b.gone(file)
	}, func(file string) {
		b := arrived(t, file, "--tcp-close")
		if !b.serves("changed") {
			t.Errorf("does not serve: %s", b.logs("5"))
		}
		lines := strings.Split(docker(t, "exec", b.name, "cat", "/var/log/nginx/access.log"), "\n")
		if len(lines) < 2 {
			t.Errorf("access log: %q", lines)
		}
		docker(t, "exec", b.name, "sh", "-c", "nginx -t -c /nginx.conf -e /dev/stderr")
	})
}

// serves says whether the web server in the container answers with this word.
func (b *box) serves(word string) bool {
	b.t.Helper()
	return until(10*time.Second, func() bool {
		c, err := net.DialTimeout("tcp", b.address()+":80", time.Second)
		if err != nil {
			return false
		}
		defer c.Close()
		_ = c.SetDeadline(time.Now().Add(2 * time.Second))
		fmt.Fprint(c, "GET / HTTP/1.0\r\n\r\n")
		body := new(strings.Builder)
		_, _ = bufio.NewReader(c).WriteTo(body)
		return strings.HasSuffix(body.String(), word+"\n")
	})
}
