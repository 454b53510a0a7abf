//go:build e2e

package e2e

import (
	"bufio"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
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
	t.Helper()
	to, from := os.Getenv(saveArchives), os.Getenv(archives)
	switch {
	case to == "" && from == "":
		to = t.TempDir()
		from = to
	case to != "" && from != "":
		t.Fatalf("%s and %s are both set: nothing would be tested", saveArchives, archives)
	}
	if to != "" {
		leave(filepath.Join(to, name))
	}
	if from != "" {
		arrive(filepath.Join(from, name))
	}
}

// gone exports the newest checkpoint and removes the container with all it has.
func (b *box) gone(file string) {
	b.t.Helper()
	b.must(0, "export", b.name, "-o", file)
	docker(b.t, "rm", "-f", "-v", b.name)
	b.must(0, "rm", b.name, "checkpoint1")
}

// writeCount writes beside an archive how much had been done before its checkpoint.
func writeCount(t *testing.T, file string, n int) {
	t.Helper()
	if err := os.WriteFile(file+".count", []byte(strconv.Itoa(n)), 0o600); err != nil {
		t.Fatal(err)
	}
}

// readCount returns what writeCount has written.
func readCount(t *testing.T, file string) int {
	t.Helper()
	data, err := os.ReadFile(file + ".count")
	if err != nil {
		t.Fatal(err)
	}
	n, err := strconv.Atoi(string(data))
	if err != nil {
		t.Fatal(err)
	}
	return n
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

// Redis with its append-only file, in the layer and once more in a volume,
// checkpointed under load: all that was answered is there, in memory and in the
// file.
func TestRedisTravels(t *testing.T) {
	t.Parallel()
	for name, options := range map[string][]string{"redis-layer": nil, "redis-volume": {"-v", "/data"}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			travel(t, name, func(file string) {
				b := start(t, append(slices.Clone(options), appsImage, "redis-server", "--dir", "/data", "--save", "", "--appendonly", "yes", "--protected-mode", "no", "--bind", "0.0.0.0")...)
				var answered atomic.Int64
				ended := make(chan error, 1)
				if !until(10*time.Second, func() bool { return accepts(b.address() + ":6379") }) {
					t.Fatal("redis does not listen")
				}
				go func() { ended <- increment(b.address(), &answered) }()
				if !until(10*time.Second, func() bool { return answered.Load() > 500 || len(ended) > 0 }) || len(ended) > 0 {
					t.Fatalf("%d increments were answered", answered.Load())
				}
				b.checkpoint("--leave-running=false", "--volumes")
				writeCount(t, file, int(answered.Load()))
				b.gone(file)
			}, func(file string) {
				answered := readCount(t, file)
				b := arrived(t, file, "--tcp-close")
				said := strings.SplitN(docker(t, "exec", b.name, "sh", "-c", "redis-cli get n; redis-cli incr n; redis-check-aof /data/appendonlydir/*.manifest"), "\n", 3)
				n, err := strconv.Atoi(said[0])
				if err != nil || n < answered || n > answered+1 {
					t.Errorf("n is %s, %d were answered", said[0], answered)
				}
				if len(said) < 3 || said[1] != strconv.Itoa(n+1) || !strings.Contains(said[2], "are valid") {
					t.Errorf("redis says %q", said)
				}
				// The file alone gives the same.
				docker(t, "restart", "-t", "5", b.name)
				got := ""
				if !until(10*time.Second, func() bool {
					got = docker(t, "exec", b.name, "sh", "-c", "redis-cli get n 2>&1 || true")
					return got == strconv.Itoa(n+1)
				}) {
					t.Errorf("from the file n is %s, want %d", got, n+1)
				}
			})
		})
	}
}

// nginx with a changed configuration and an access log, checkpointed under load: it
// serves by that configuration, and the log has every request that was answered.
func TestNginxTravels(t *testing.T) {
	t.Parallel()
	travel(t, "nginx", func(file string) {
		b := start(t, appsImage, "nginx", "-c", "/nginx.conf", "-e", "/dev/stderr")
		if !b.serves("served") {
			t.Fatal("nginx does not serve")
		}
		docker(t, "exec", b.name, "sh", "-c", `sed -i 's/served/changed/; s,access_log off,access_log /var/log/nginx/access.log,' /nginx.conf && nginx -c /nginx.conf -e /dev/stderr -s reload`)
		var answered atomic.Int64
		stop := make(chan struct{})
		defer close(stop)
		go func(address string) {
			for {
				select {
				case <-stop:
					return
				default:
				}
				if strings.HasSuffix(get(address), "changed\n") {
					answered.Add(1)
				}
			}
		}(b.address())
		if !until(10*time.Second, func() bool { return answered.Load() > 100 }) {
			t.Fatalf("nginx has answered %d requests", answered.Load())
		}
		b.checkpoint("--leave-running=false")
		writeCount(t, file, int(answered.Load()))
		b.gone(file)
	}, func(file string) {
		b := arrived(t, file, "--tcp-close")
		if !b.serves("changed") {
			t.Errorf("does not serve: %s", b.logs("5"))
		}
		log := docker(t, "exec", b.name, "sh", "-c", "cat /var/log/nginx/access.log && nginx -q -t -c /nginx.conf -e /dev/stderr")
		if n := readCount(t, file) + 1; strings.Count(log, `"GET / `) < n {
			t.Errorf("%d requests were answered, the log has: %s", n, log)
		}
	})
}

// serves says whether the web server in the container answers with this word.
func (b *box) serves(word string) bool {
	b.t.Helper()
	return until(10*time.Second, func() bool { return strings.HasSuffix(get(b.address()), word+"\n") })
}

// get returns what the web server at an address answers, or nothing.
func get(address string) string {
	c, err := net.DialTimeout("tcp", address+":80", time.Second)
	if err != nil {
		return ""
	}
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(2 * time.Second))
	fmt.Fprint(c, "GET / HTTP/1.0\r\n\r\n")
	body := new(strings.Builder)
	_, _ = bufio.NewReader(c).WriteTo(body)
	return body.String()
}
