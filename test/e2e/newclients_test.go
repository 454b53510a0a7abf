//go:build e2e && apps

package e2e

import (
	"fmt"
	"net"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

// ab connects anew for each of a thousand requests and ends when all are answered;
// then it begins again.
const ab = `while out=$(ab -q -n 1000 -c 16 -s 120 http://$SERVER:8000/page 2>&1); do
	echo "$out" | grep -E '^(Complete|Failed|Non-2xx)|rror'
done; echo "fatal: $out"; exit 1`

// A checkpoint of a server that clients connect to all the time succeeds, and every
// request is answered: the server runs on, and what waited to be accepted is
// accepted afterwards.
func TestNewClients(t *testing.T) {
	image := servers(t)
	server := application{name: "nginx", server: "exec nginx -c /apps/nginx.conf -e /dev/stderr", port: "8000"}
	p := &loaded{t: t, server: start(t, image, "sh", "-c", server.server)}
	address := p.server.address()
	if !until(patience, func() bool { return accepts(net.JoinHostPort(address, server.port)) }) {
		t.Fatalf("nginx does not listen: %s", p.server.logs("5"))
	}
	p.client = start(t, "--cpus", share, "--sysctl", "net.ipv4.tcp_tw_reuse=1", "--sysctl", "net.ipv4.ip_local_port_range=1024 65535", "-e", "SERVER="+address, image, "sh", "-c", ab)
	p.goesOn(complete)
	few, n, waited := times(5), 0, 0
	for ; n < few || waited == 0 && n < 10*few; n++ { // few show nothing, now and then
		name := p.server.checkpoint()
		waited += strings.Count(p.server.must(0, "logs", p.server.name, name).stdout, "Skipping in-flight connection (l)")
		p.server.must(0, "rm", p.server.name, name)
		p.wantsClient()
	}
	p.goesOn(complete)
	if out := p.client.logs("all"); strings.Contains(out, "Non-2xx") || strings.Count(out, "Failed") != len(noneFailed.FindAllString(out, -1)) {
		t.Errorf("ab says: %s", out)
	}
	if waited == 0 {
		t.Errorf("no connection waited to be accepted in %d checkpoints: the test shows nothing", n)
	}
	t.Logf("%d checkpoints, in which %d connections waited to be accepted, beside %d requests, each on a connection of its own", n, waited, complete(p))
}

var (
	ofRound    = regexp.MustCompile(`Complete requests: +(\d+)`)
	noneFailed = regexp.MustCompile(`(?m)Failed requests: +0$`)
)

// complete is how many requests were answered.
func complete(p *loaded) (n int) {
	p.t.Helper()
	for _, m := range ofRound.FindAllStringSubmatch(p.client.logs("all"), -1) {
		round, err := strconv.Atoi(m[1])
		if err != nil {
			p.t.Fatal(fmt.Errorf("ab says: %w", err))
		}
		n += round
	}
	return n
}
