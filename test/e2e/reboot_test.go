//go:build e2e && reboot

package e2e

import (
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"strings"
	"testing"
)

// The VM's init boots again when the tests have passed and rebootFile is there, which
// has the other name then. What is below /job is there again.
const (
	rebootFile   = "/job/reboot"
	rebootedFile = "/job/rebooted"
	rebootStore  = "/job/store"
)

// TestReboot parks containers, and in the next boot of the machine has them go on where
// they were: a counter that Docker would start by itself, redis whose client in the
// same container keeps its connection, and nginx.
func TestReboot(t *testing.T) {
	redis, counter, nginx := parkedBox(t, "redis"), parkedBox(t, "counter"), parkedBox(t, "nginx")
	data, err := os.ReadFile(rebootedFile)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		t.Fatal(err)
	}
	if err != nil {
		docker(t, "run", "-d", "--name", redis.name, "--label", "checkpointctl.park", appsImage, "sh", "-c",
			`redis-server --save "" & while ! redis-cli ping; do sleep 0.2; done; while echo incr n; do sleep 0.1; done | redis-cli`)
		docker(t, "run", "-d", "--name", counter.name, "--label", "checkpointctl.park", "--restart", "always", baseImage, "sh", "-c", counting)
		docker(t, "run", "-d", "--name", nginx.name, "--label", "checkpointctl.park", appsImage, "nginx", "-c", "/nginx.conf", "-e", "/dev/stderr")
		docker(t, "exec", nginx.name, "sh", "-c", `sed -i s/served/changed/ /nginx.conf && nginx -c /nginx.conf -e /dev/stderr -s reload`)
		if !nginx.serves("changed") {
			t.Fatal("nginx does not serve")
		}
		redis.await(8)
		counter.await(8)
		t.Setenv("CHECKPOINTCTL_PARK_ORDER", redis.name)
		redis.must(0, "park")
		data, err := json.Marshal([]int{redis.count(), counter.count()})
		if err == nil {
			err = os.WriteFile(rebootFile, data, 0o600)
		}
		if err != nil {
			t.Fatal(err)
		}
		return
	}
	var counts []int
	if err := json.Unmarshal(data, &counts); err != nil || len(counts) != 2 {
		t.Fatalf("%s: %v", data, err)
	}
	boxes := []*box{redis, counter, nginx}
	for _, b := range boxes {
		t.Cleanup(b.remove)
		if state := b.state(); state != "exited" {
			t.Errorf("%s is %s before it is restored", b.name, state)
		}
	}
	r := redis.must(0, "unpark", "--rm")
	if lines := strings.Fields(r.stdout); len(lines) != 3 || !strings.HasPrefix(lines[0], redis.name+"/") {
		t.Errorf("unpark: %s%s", r.stdout, r.stderr)
	}
	redis.goesOn(counts[0])
	counter.goesOn(counts[1])
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
