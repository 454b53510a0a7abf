//go:build e2e

package e2e

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"
)

// outcomes are what park and unpark print of each container, in order.
func outcomes(t *testing.T, r result) (ok, failed []string) {
	t.Helper()
	var list []struct {
		Container string
		OK        bool
	}
	if err := json.Unmarshal([]byte(r.stdout), &list); err != nil {
		t.Fatalf("%v: %s%s", err, r.stdout, r.stderr)
	}
	for _, o := range list {
		if o.OK {
			ok = append(ok, o.Container)
		} else {
			failed = append(failed, o.Container)
		}
	}
	return ok, failed
}

func (b *box) restartPolicy() string {
	b.t.Helper()
	return string(b.inspect().HostConfig.RestartPolicy.Name)
}

// Containers stop before what they depend on, go on after it, and keep their restart
// policies. One that was started meanwhile is left alone, one whose files changed is
// started afresh.
func TestPark(t *testing.T) {
	t.Parallel()
	mark := prefix + "park"
	compose := func(service, dependsOn string) []string {
		return []string{"--label", mark, "--label", "com.docker.compose.project=" + mark,
			"--label", "com.docker.compose.service=" + service, "--label", "com.docker.compose.depends_on=" + dependsOn}
	}
	web := start(t, append(compose("web", "db:service_started:false"), "--restart", "always", baseImage, "sh", "-c", counting)...)
	db := start(t, append(compose("db", ""), "--restart", "on-failure:7", baseImage, "sh", "-c", counting)...)
	agent := start(t, "--label", mark, "--network", "container:"+db.name, baseImage, "sh", "-c", counting)
	boxes := []*box{web, db, agent}
	for _, b := range boxes {
		b.store = db.store
		b.await(8)
	}
	dry := db.must(0, "park", "--label", mark, "--dry-run").stdout
	if want := []string{"ORDER", "CONTAINER", "1", db.name, "1", agent.name, "2", web.name}; !slices.Equal(strings.Fields(dry), want) {
		t.Errorf("order: %s", dry)
	}

	counts := map[*box]int{}
	ok, _ := outcomes(t, db.must(0, "park", "--label", mark, "--json"))
	if ok[0] != web.name || len(ok) != 3 {
		t.Errorf("parked %q", ok)
	}
	for _, b := range boxes {
		counts[b] = b.count()
		if policy := b.restartPolicy(); b.state() != "exited" || policy == "always" || policy == "on-failure" {
			t.Errorf("%s is %s with restart policy %s", b.name, b.state(), policy)
		}
	}
	parked := db.list()[0].Checkpoint
	if r := db.must(13, "rm", db.name, parked); !strings.Contains(r.stderr, "a parked container needs the checkpoint") {
		t.Errorf("stderr: %s", r.stderr)
	}

	ok, _ = outcomes(t, db.must(0, "unpark", "--rm", "--json"))
	if len(ok) != 3 || ok[2] != web.name {
		t.Errorf("restored %q", ok)
	}
	for _, b := range boxes {
		b.goesOn(counts[b])
	}
	if web.restartPolicy() != "always" || db.inspect().HostConfig.RestartPolicy.MaximumRetryCount != 7 {
		t.Errorf("restart policies: %s, %+v", web.restartPolicy(), db.inspect().HostConfig.RestartPolicy)
	}
	if left := db.list(); len(left) != 0 {
		t.Errorf("left: %+v", left)
	}
	if r := db.must(0, "unpark"); r.stdout != "" {
		t.Errorf("nothing is parked, and it prints %s", r.stdout)
	}

	db.must(0, "park", "--label", mark)
	docker(t, "start", db.name)
	docker(t, "start", web.name)
	docker(t, "exec", web.name, "touch", "/changed")
	docker(t, "kill", web.name)
	r := db.ctl("unpark", "--json")
	ok, failed := outcomes(t, r)
	if len(ok) != 0 || len(failed) != 3 || r.code != 1 {
		t.Fatalf("exit %d, restored %q, failed %q: %s", r.code, ok, failed, r.stdout)
	}
	for what, text := range map[string]string{"db": "was started meanwhile and is left as it is", "agent": "shares namespaces with", "web": "started afresh, without its checkpoint"} {
		if !strings.Contains(r.stdout, text) {
			t.Errorf("%s: %s", what, r.stdout)
		}
	}
	for _, b := range boxes {
		if b.state() != "running" {
			t.Errorf("%s is %s", b.name, b.state())
		}
	}
	if web.restartPolicy() != "always" || len(db.list()) != 3 {
		t.Errorf("web: %s; %d checkpoints", web.restartPolicy(), len(db.list()))
	}
}
