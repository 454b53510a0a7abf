//go:build e2e && reboot

package e2e

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"
)

// guest.sh of test/vm reboots when TestReboot has left rebootFile, which has the other
// name in the next boot.
const (
	rebootFile   = "/job/reboot"
	rebootedFile = "/job/rebooted"
	parkUnit     = "checkpointctl-park.service"
)

// inserting runs PostgreSQL and a client that inserts rows over one connection, and
// prints the number of each row and the server's process that it is connected to.
const inserting = `export PATH=/usr/lib/postgresql/15/bin:$PATH PGHOST=/tmp PGUSER=app PGDATABASE=postgres
postgres -D /data/db -k /tmp -c listen_addresses= -c shared_buffers=4MB -c jit=off &
until psql -q -c 'CREATE TABLE rows (n serial PRIMARY KEY, backend int)'; do sleep 0.5; done
while echo 'INSERT INTO rows (backend) VALUES (pg_backend_pid()) RETURNING n, backend;'; do sleep 0.2; done | psql -qAtF ' '`

// incrementing runs redis and a client that counts up a key over one connection, and
// prints each count.
const incrementing = `redis-server --save "" & while ! redis-cli ping; do sleep 0.2; done; while echo incr n; do sleep 0.1; done | redis-cli`

// countingAndClock counts and prints its clock, which begins with the boot of the host.
const countingAndClock = `i=0; while :; do i=$((i+1)); read clock _ </proc/uptime; echo $i $clock; sleep 0.1; done`

// outliving are the containers that outlive the reboot. The clients of PostgreSQL, which
// has its data in a volume, and of redis are in the servers' containers and keep their
// connections. Docker would start the counter itself.
type outliving struct{ postgres, redis, counter, nginx *box }

// counters are those that count.
func (o outliving) counters() []*box { return []*box{o.postgres, o.redis, o.counter} }

// TestReboot has systemd stop and start the unit that make install installs, with the
// machine, and containers go on in the next boot where they were.
func TestReboot(t *testing.T) {
	named := func(what string) *box {
		return &box{t: t, name: "ckpt-e2e-parked-" + what, store: "/var/lib/checkpointctl"}
	}
	o := outliving{named("postgres"), named("redis"), named("counter"), named("nginx")}
	data, err := os.ReadFile(rebootedFile)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		o.start(t)
	case err != nil:
		t.Fatal(err)
	default:
		o.wentOn(t, data)
	}
}

// start starts the containers, and the unit as README says, and has guest.sh reboot.
func (o outliving) start(t *testing.T) {
	for _, c := range []struct {
		*box
		options []string
	}{
		{o.postgres, []string{"-v", "/data", "--user", "1000:1000", postgresImage(t), "sh", "-c", inserting}},
		{o.redis, []string{appsImage, "sh", "-c", incrementing}},
		{o.counter, []string{"--restart", "always", baseImage, "sh", "-c", countingAndClock}},
		{o.nginx, []string{appsImage, "nginx", "-c", "/nginx.conf", "-e", "/dev/stderr"}},
	} {
		docker(t, append([]string{"run", "-d", "--name", c.name, "--label", "checkpointctl.park"}, c.options...)...)
	}
	docker(t, "exec", o.nginx.name, "sh", "-c", `sed -i s/served/changed/ /nginx.conf && nginx -c /nginx.conf -e /dev/stderr -s reload`)
	if !o.nginx.serves("changed") {
		t.Fatal("nginx does not serve")
	}
	file := "/etc/checkpointctl/checkpointctl.yaml"
	err := os.MkdirAll(filepath.Dir(file), 0o755)
	if err == nil {
		err = os.WriteFile(file, fmt.Appendf(nil, "park: {order: [%s, %s]}\n", o.postgres.name, o.redis.name), 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
	output(t, "systemctl", "enable", "--now", parkUnit)
	var counts []int
	for _, b := range o.counters() {
		b.printsMore(8)
		counts = append(counts, len(b.printed()))
	}
	data, err := json.Marshal(counts)
	if err == nil {
		err = os.WriteFile(rebootFile, data, 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// wentOn looks at what the boot before this one left, with these counts.
func (o outliving) wentOn(t *testing.T, data []byte) {
	t.Cleanup(func() {
		if t.Failed() {
			t.Log(output(t, "journalctl", "--no-pager", "-o", "short-iso", "-u", parkUnit))
		}
	})
	if err := os.Remove(rebootedFile); err != nil {
		t.Fatal(err)
	}
	for _, b := range append(o.counters(), o.nginx) {
		t.Cleanup(b.remove)
	}
	var counts []int
	if err := json.Unmarshal(data, &counts); err != nil || len(counts) != len(o.counters()) {
		t.Fatalf("%s: %v", data, err)
	}
	state := output(t, "systemctl", "show", "-p", "ActiveState,ExecMainStatus", parkUnit)
	if !strings.Contains(state, "ActiveState=active\n") || !strings.Contains(state, "ExecMainStatus=0\n") {
		t.Errorf("the unit: %s", state)
	}
	if failed := output(t, "systemctl", "--failed", "--no-legend", "--plain"); failed != "" {
		t.Errorf("units have failed: %s", failed)
	}
	log := output(t, "journalctl", "-b", "-o", "cat", "-u", parkUnit)
	restored := regexp.MustCompile(`(?m)^ckpt-e2e-parked-(\w+)/parked-`).FindAllStringSubmatch(log, -1)
	if len(restored) != 4 || restored[0][1] != "postgres" {
		t.Errorf("the unit has restored %q: %s", restored, log)
	}
	if left := o.redis.list(); len(left) != 0 {
		t.Errorf("left: %+v", left)
	}

	for i, b := range o.counters() {
		b.countedOn(counts[i])
	}
	rows := o.postgres.printed()
	for _, row := range rows {
		if row.beside != rows[0].beside {
			t.Fatalf("row %d came from process %v, the first from %v", row.n, row.beside, rows[0].beside)
		}
	}
	query := fmt.Sprintf("SELECT count(DISTINCT n), count(DISTINCT backend) FROM rows WHERE n <= %d", len(rows))
	got := docker(t, "exec", o.postgres.name, "/usr/lib/postgresql/15/bin/psql", "-h", "/tmp", "-U", "app", "-AtF", " ", "postgres", "-c", query)
	if want := fmt.Sprintf("%d 1", len(rows)); got != want {
		t.Errorf("rows and processes: %s, want %s", got, want)
	}
	// The clock of the new boot has not come as far yet.
	last := 0.0
	for _, l := range o.counter.printed() {
		if l.beside < last {
			t.Fatalf("the clock went from %v back to %v at line %d", last, l.beside, l.n)
		}
		last = l.beside
	}
	if policy := o.counter.restartPolicy(); policy != "always" {
		t.Errorf("the counter's restart policy is %s", policy)
	}
	if !o.nginx.serves("changed") {
		t.Errorf("nginx does not serve what was changed: %s", o.nginx.logs("5"))
	}
}

// output returns what a program prints, which must succeed.
func output(t *testing.T, name string, args ...string) string {
	t.Helper()
	r := execute(t, exec.Command(name, args...))
	if r.code != 0 {
		t.Fatalf("%s %s: exit %d: %s%s", name, strings.Join(args, " "), r.code, r.stdout, r.stderr)
	}
	return r.stdout
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
