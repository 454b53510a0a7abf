//go:build e2e

package e2e

import (
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"
)

// loaded is an application's server and its client.
type loaded struct {
	t              *testing.T
	server, client *box
}

// share is how much of a CPU a client gets: the load goes on all the time, and leaves
// something for its neighbours.
const share = "0.25"

// patience is for clients: TCP waits the longer before it sends again, the longer
// the server was away.
const patience = time.Minute

// goesOn waits until the client has done more, so that some of it was begun and
// ended in this time.
func (p *loaded) goesOn(done func(*loaded) int) {
	p.t.Helper()
	before := done(p)
	for range 2 {
		if !until(patience, func() bool { return p.client.state() != "running" || done(p) > before }) {
			p.t.Fatalf("the client does not go on from %d: %s\nthe server: %s", before, p.client.logs("5"), p.server.logs("5"))
		}
		before = done(p)
	}
	p.wantsClient()
}

// complaints are how the clients tell of what went wrong.
var complaints = regexp.MustCompile(`(?i)wrong|error|fatal|abort|reset|refused|timed out|lost connection`)

// wantsClient fails if the client has ended or complains.
func (p *loaded) wantsClient() {
	p.t.Helper()
	if p.client.state() != "running" {
		p.t.Fatalf("the client has ended: %s", p.client.logs("20"))
	}
	if said := complaints.FindString(p.client.logs("200")); said != "" {
		p.t.Fatalf("the client says %q: %s", said, p.client.logs("20"))
	}
}

// sh runs a script in the server's container.
func (p *loaded) sh(script string) string {
	p.t.Helper()
	return docker(p.t, "exec", p.server.name, "sh", "-c", script)
}

// equal fails unless all words of a text are the same number, and returns it.
func (p *loaded) equal(what, text string) int {
	p.t.Helper()
	words := strings.Fields(text)
	if len(words) < 2 {
		p.t.Fatalf("%s: %q", what, text)
	}
	for _, w := range words {
		if w != words[0] {
			p.t.Errorf("%s: %s", what, text)
		}
	}
	n, err := strconv.Atoi(words[0])
	if err != nil {
		p.t.Fatalf("%s: %q", what, text)
	}
	return n
}
