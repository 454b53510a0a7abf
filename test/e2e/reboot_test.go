//go:build e2e && reboot

package e2e

import (
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/checkpointctl/checkpointctl/test/images"
)

// The VM's init boots again when the tests have passed and rebootFile is there, which
// has the other name then. What is below /job is there again.
const (
	rebootFile   = "/job/reboot"
	rebootedFile = "/job/rebooted"
	rebootStore  = "/job/store"
)

// moreImages makes the images that only TestReboot runs.
func moreImages(tmp string) ([]string, error) {
	image, err := images.PostgreSQL(tmp)
	return []string{image}, err
}

// inserting runs PostgreSQL and a client that inserts rows over one connection, and
// prints the number of each row and the server's process that it is connected to.
const inserting = `export PATH=/usr/lib/postgresql/15/bin:$PATH PGHOST=/tmp PGUSER=app PGDATABASE=postgres
postgres -D /data/db -k /tmp -c listen_addresses= -c shared_buffers=4MB -c jit=off &
until psql -q -c 'CREATE TABLE rows (n serial PRIMARY KEY, backend int)'; do sleep 0.5; done
while echo 'INSERT INTO rows (backend) VALUES (pg_backend_pid()) RETURNING n, backend;'; do sleep 0.2; done | psql -qAtF ' '`

// countingAndClock counts and prints its clock, which begins with the boot of the host.
const countingAndClock = `i=0; while :; do i=$((i+1)); read clock _ </proc/uptime; echo $i $clock; sleep 0.1; done`

// TestReboot parks containers, and in the next boot of the machine has them go on where
// they were: PostgreSQL with its data in a volume and redis, whose clients in the same
// container keep their connections, a counter that Docker would start by itself, and
// nginx.
func TestReboot(t *testing.T) {
	postgres, redis, counter, nginx := parkedBox(t, "postgres"), parkedBox(t, "redis"), parkedBox(t, "counter"), parkedBox(t, "nginx")
	counters := []*box{postgres, redis, counter}
	data, err := os.ReadFile(rebootedFile)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		t.Fatal(err)
	}
	if err != nil {
		image, err := images.PostgreSQL(t.TempDir())
		if err != nil {
			t.Fatal(err)
		}
		docker(t, "run", "-d", "--name", postgres.name, "--label", "checkpointctl.park", "-v", "/data", "--user", "1000:1000", image, "sh", "-c", inserting)
		docker(t, "run", "-d", "--name", redis.name, "--label", "checkpointctl.park", appsImage, "sh", "-c",
			`redis-server --save "" & while ! redis-cli ping; do sleep 0.2; done; while echo incr n; do sleep 0.1; done | redis-cli`)
		docker(t, "run", "-d", "--name", counter.name, "--label", "checkpointctl.park", "--restart", "always", baseImage, "sh", "-c", countingAndClock)
		docker(t, "run", "-d", "--name", nginx.name, "--label", "checkpointctl.park", appsImage, "nginx", "-c", "/nginx.conf", "-e", "/dev/stderr")
		docker(t, "exec", nginx.name, "sh", "-c", `sed -i s/served/changed/ /nginx.conf && nginx -c /nginx.conf -e /dev/stderr -s reload`)
		if !nginx.serves("changed") {
			t.Fatal("nginx does not serve")
		}
		for _, b := range counters {
			b.printsMore(8)
		}
		t.Setenv("CHECKPOINTCTL_PARK_ORDER", postgres.name+","+redis.name)
		redis.must(0, "park")
		var counts []int
		for _, b := range counters {
			counts = append(counts, len(b.printed()))
		}
		data, err := json.Marshal(counts)
		if err == nil {
			err = os.WriteFile(rebootFile, data, 0o600)
		}
		if err != nil {
			t.Fatal(err)
		}
		return
	}
	var counts []int
	if err := json.Unmarshal(data, &counts); err != nil || len(counts) != len(counters) {
		t.Fatalf("%s: %v", data, err)
	}
	for _, b := range append(counters, nginx) {
		t.Cleanup(b.remove)
		if state := b.state(); state != "exited" {
			t.Errorf("%s is %s before it is restored", b.name, state)
		}
	}
	r := redis.must(0, "unpark", "--rm")
	if lines := strings.Fields(r.stdout); len(lines) != 4 || !strings.HasPrefix(lines[0], postgres.name+"/") || !strings.HasPrefix(lines[1], redis.name+"/") {
		t.Errorf("unpark: %s%s", r.stdout, r.stderr)
	}
	for i, b := range counters {
		b.countedOn(counts[i])
	}
	rows := postgres.printed()
	for _, row := range rows {
		if row.beside != rows[0].beside {
			t.Fatalf("row %d came from process %v, the first from %v", row.n, row.beside, rows[0].beside)
		}
	}
	want := strconv.Itoa(len(rows)) + " 1"
	if got := docker(t, "exec", postgres.name, "/usr/lib/postgresql/15/bin/psql", "-h", "/tmp", "-U", "app", "-AtF", " ", "postgres",
		"-c", "SELECT count(DISTINCT n), count(DISTINCT backend) FROM rows WHERE n <= "+strconv.Itoa(len(rows))); got != want {
		t.Errorf("rows and processes: %s, want %s", got, want)
	}
	// The clock of the new boot has not come as far yet.
	last := 0.0
	for _, line := range counter.printed() {
		if line.beside < last {
			t.Fatalf("the clock went from %v back to %v at line %d", last, line.beside, line.n)
		}
		last = line.beside
	}
	if !nginx.serves("changed") {
		t.Errorf("nginx does not serve what was changed: %s", nginx.logs("5"))
	}
	if policy := counter.restartPolicy(); policy != "always" {
		t.Errorf("the counter's restart policy is %s", policy)
	}
}

// parkedBox has the same name and store in both boots.
func parkedBox(t *testing.T, what string) *box {
	return &box{t: t, name: "ckpt-e2e-parked-" + what, store: rebootStore}
}

// printedLine is a count that a container printed, and what it printed beside it.
type printedLine struct {
	n      int
	beside float64
}

var countedLine = regexp.MustCompile(`(?m)^(\d+)(?: ([\d.]+))?$`)

// printed returns the counts that the container printed since it was first started.
func (b *box) printed() (lines []printedLine) {
	b.t.Helper()
	for _, m := range countedLine.FindAllStringSubmatch(b.logs("all"), -1) {
		n, err := strconv.Atoi(m[1])
		beside := 0.0
		if err == nil && m[2] != "" {
			beside, err = strconv.ParseFloat(m[2], 64)
		}
		if err != nil {
			b.t.Fatalf("%s printed %q: %v", b.name, m[0], err)
		}
		lines = append(lines, printedLine{n, beside})
	}
	return lines
}

// printsMore waits until the container has printed that many more counts.
func (b *box) printsMore(n int) {
	b.t.Helper()
	before := len(b.printed())
	if !until(time.Minute, func() bool { return len(b.printed()) >= before+n }) {
		b.t.Fatalf("%s does not go on from %d: %s", b.name, before, b.logs("5"))
	}
}

// countedOn fails unless the container still counts, has counted past n, and has left
// out and repeated nothing since it was first started.
func (b *box) countedOn(n int) {
	b.t.Helper()
	b.printsMore(3)
	lines := b.printed()
	for i, l := range lines {
		if l.n != i+1 {
			b.t.Fatalf("%s counted %d as number %d", b.name, l.n, i+1)
		}
	}
	if len(lines) < n+3 {
		b.t.Errorf("%s has counted to %d, and to %d before the reboot", b.name, len(lines), n)
	}
}
