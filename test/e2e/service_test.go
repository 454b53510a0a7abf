//go:build e2e

package e2e

import (
	"bufio"
	"context"
	"encoding/json"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/events"
	"github.com/docker/docker/api/types/filters"
	"github.com/docker/docker/client"
)

// eating counts until it is told to take all memory that it can get.
const eating = `i=0; while [ ! -e /tmp/eat ]; do i=$((i+1)); echo $i; sleep 0.1; done; x=$i; while :; do x=$x$x; done`

// What Docker does for a running container it does for a restored one: names,
// figures, health checks and the memory limit.
func TestDockerServesARestoredContainer(t *testing.T) {
	t.Parallel()
	net := prefix + "served"
	docker(t, "network", "create", net)
	t.Cleanup(func() { _ = exec.Command("docker", "network", "rm", net).Run() })
	other := start(t, "--network", net, baseImage, "sleep", "1000")
	b := start(t, "--network", net, "--network-alias", "served", "-m", "48m", "--memory-swap", "48m",
		"--health-cmd", "test ! -e /tmp/sick", "--health-interval", "300ms", "--health-retries", "2", baseImage, "sh", "-c", eating)
	t.Cleanup(func() { // before the network is removed
		b.remove()
		other.remove()
	})
	at := b.await(8)
	b.becomes("healthy")
	b.checkpoint("--leave-running=false")
	b.restore()
	b.goesOn(at)

	resolves(t, b, other.name, other.address())
	resolves(t, other, b.name, b.address())
	resolves(t, other, "served", b.address())

	var s container.StatsResponse
	b.daemon(func(ctx context.Context, c *client.Client) error {
		r, err := c.ContainerStats(ctx, b.name, false)
		if err != nil {
			return err
		}
		defer r.Body.Close()
		return json.NewDecoder(r.Body).Decode(&s)
	})
	if s.MemoryStats.Usage == 0 || s.MemoryStats.Limit != 48<<20 || s.PidsStats.Current == 0 || s.CPUStats.CPUUsage.TotalUsage == 0 || s.Networks["eth0"].RxBytes == 0 {
		t.Errorf("stats: memory %d of %d, %d pids, cpu %d, networks %+v",
			s.MemoryStats.Usage, s.MemoryStats.Limit, s.PidsStats.Current, s.CPUStats.CPUUsage.TotalUsage, s.Networks)
	}

	b.becomes("healthy")
	docker(t, "exec", b.name, "touch", "/tmp/sick")
	b.becomes("unhealthy")
	docker(t, "exec", b.name, "rm", "/tmp/sick")
	b.becomes("healthy")

	killed := b.event("oom")
	docker(t, "exec", b.name, "touch", "/tmp/eat")
	select {
	case err := <-killed:
		if err != nil {
			t.Errorf("no oom event: %v", err)
		}
	case <-time.After(time.Duration(20*slow) * time.Second):
		t.Error("no oom event")
	}
	if !until(10*time.Second, func() bool { return b.state() == "exited" }) {
		t.Errorf("past its memory limit it is %s", b.state())
	}
	if !b.inspect().State.OOMKilled {
		t.Error("OOMKilled is not set")
	}
}

// becomes waits for a result of the health check.
func (b *box) becomes(health string) {
	b.t.Helper()
	if !until(10*time.Second, func() bool { return b.inspect().State.Health.Status == health }) {
		b.t.Errorf("does not become %s: %+v", health, b.inspect().State.Health)
	}
}

// resolves fails unless Docker's DNS has the name and its address for b.
func resolves(t *testing.T, b *box, name, address string) {
	t.Helper()
	out, err := exec.Command("docker", "exec", b.name, "nslookup", name, "127.0.0.11").CombinedOutput()
	if address == "" || err != nil || !strings.Contains(string(out), address) {
		t.Errorf("%s is not resolved to %q: %v: %s", name, address, err, out)
	}
}

// event begins to listen for an event of the container; the channel gets nil
// when it comes.
func (b *box) event(name string) <-chan error {
	b.t.Helper()
	c, err := client.NewClientWithOpts(client.FromEnv, client.WithAPIVersionNegotiation())
	if err != nil {
		b.t.Fatal(err)
	}
	b.t.Cleanup(func() { _ = c.Close() })
	ctx, cancel := context.WithCancel(context.Background())
	b.t.Cleanup(cancel)
	// From now on, by the daemon's clock, which is this machine's.
	since := strconv.FormatInt(time.Now().Unix(), 10)
	list, errs := c.Events(ctx, events.ListOptions{Since: since, Filters: filters.NewArgs(filters.Arg("container", b.name), filters.Arg("event", name))})
	seen := make(chan error, 1)
	go func() {
		select {
		case <-list:
			seen <- nil
		case err := <-errs:
			seen <- err
		}
	}()
	return seen
}

// What was printed before the checkpoint and after the restore is in the log,
// which can be followed.
func TestLogDrivers(t *testing.T) {
	drivers := []string{"json-file", "local", "none"}
	if exists("/run/systemd/journal/socket") {
		drivers = append(drivers, "journald")
	}
	for _, driver := range drivers {
		t.Run(driver, func(t *testing.T) {
			t.Parallel()
			b := start(t, "--log-driver", driver, baseImage, "sh", "-c", counting)
			read := []string{"logs", "-f", b.name}
			if driver == "none" { // what it prints can be seen all the same
				read = []string{"attach", "--no-stdin", "--sig-proxy=false", b.name}
			}
			at := follow(t, read, 8)
			b.checkpoint("--leave-running=false")
			b.restore()
			if now := follow(t, read, at+5); now > at+200 {
				t.Errorf("counts %d after %d", now, at)
			}
			if driver == "none" {
				return
			}
			// It may have been killed behind the checkpoint: nothing is missing,
			// and no line is torn.
			missing := map[string]bool{}
			for n := 1; n <= at+5; n++ {
				missing[strconv.Itoa(n)] = true
			}
			for line := range strings.Lines(b.logs("all")) {
				delete(missing, strings.TrimSpace(line))
			}
			if len(missing) > 0 {
				t.Errorf("missing in the log: %v", missing)
			}
		})
	}
}

// follow runs docker until it has printed a number of at least n, and returns
// that.
func follow(t *testing.T, args []string, n int) int {
	t.Helper()
	cmd := exec.Command("docker", args...)
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	limit := time.AfterFunc(time.Duration(20*slow)*time.Second, func() { _ = cmd.Process.Kill() })
	defer func() {
		limit.Stop()
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	}()
	last := ""
	for s := bufio.NewScanner(out); s.Scan(); {
		last = s.Text()
		if got, err := strconv.Atoi(last); err == nil && got >= n {
			return got
		}
	}
	t.Fatalf("docker %s ends at %q, before %d", strings.Join(args, " "), last, n)
	return 0
}
