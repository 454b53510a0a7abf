//go:build e2e && apps

package e2e

import (
	"context"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/docker/docker/client"

	"github.com/checkpointctl/checkpointctl/test/images"
)

// application is a server that is checkpointed under load.
type application struct {
	name    string
	version string   // a shell script that prints it
	options []string // of docker run
	server  string   // a shell script
	port    string
	prepare string // a shell script that runs in the server's container before the load; with $SERVER, the server's address
	load    string // what the client does, for the table
	client  string // a shell script, in a container of its own; with $SERVER
	// done says how much the client has done, by what it or the server says.
	done func(*loaded) int
	// check looks at the data while the load goes on; nil if the client checks all.
	check func(*loaded)
	// end looks at the data when the client has ended, and returns what the client saw.
	end func(*loaded) string
}

// TestApplications takes each application through cycles of checkpoint, kill and
// restore while a client puts load on it over connections that stay open, and prints
// the table of docs/reliability.md: see scripts/apps.sh.
func TestApplications(t *testing.T) {
	image, network := servers(t), prefix+"apps"
	docker(t, "network", "create", "--subnet", "10.215.77.0/24", network)
	t.Cleanup(func() { docker(t, "network", "rm", network) })
	backend := application{name: "backend", server: "exec nginx -c /apps/nginx.conf -e /dev/stderr", port: "8000"}.start(t, image, network, "10.215.77.5")
	cycles := times(1)
	t.Run("under load", func(t *testing.T) {
		for i, a := range applications("10.215.77.5") {
			t.Run(a.name, func(t *testing.T) {
				t.Parallel()
				began := time.Now()
				seen := a.try(t, image, network, fmt.Sprintf("10.215.77.%d", 10+i), cycles)
				version := docker(t, "run", "--rm", "--name", fmt.Sprint(prefix, "version", i), "--entrypoint", "sh", image, "-c", a.version)
				fmt.Fprintf(os.Stdout, "apps| %s | %s | %s | %d | %s |\n", a.name, strings.TrimSpace(version), a.load, cycles, seen)
				t.Logf("%d cycles in %v", cycles, time.Since(began))
			})
		}
	})
	if state := backend.state(); state != "running" {
		t.Errorf("the server behind haproxy is %s: %s", state, backend.logs("5"))
	}
}

// servers makes the image of the applications.
func servers(t *testing.T) string {
	t.Helper()
	tmp, err := os.MkdirTemp("", "ckpt-e2e-apps-") // larger than t.TempDir may be
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(tmp)
	image, err := images.Servers(".", tmp)
	if err != nil {
		t.Fatal(err)
	}
	return image
}

// start runs the server and waits until it listens.
func (a application) start(t *testing.T, image, network, address string) *box {
	t.Helper()
	args := append([]string{"--network", network, "--ip", address}, a.options...)
	b := start(t, append(args, image, "sh", "-c", a.server)...)
	if !until(2*time.Minute, func() bool { return b.state() != "running" || accepts(address+":"+a.port) }) || b.state() != "running" {
		t.Fatalf("%s does not listen: %s", a.name, b.logs("20"))
	}
	return b
}

// try returns what the client saw.
func (a application) try(t *testing.T, image, network, address string, cycles int) string {
	p := &loaded{t: t, server: a.start(t, image, network, address)}
	if a.prepare != "" {
		p.sh("SERVER=127.0.0.1; " + a.prepare)
	}
	p.client = start(t, "--network", network, "--cpus", share, "-e", "SERVER="+address, image, "sh", "-c", a.client)
	p.goesOn(a.done)
	for range cycles {
		p.server.checkpoint("--leave-running=false")
		p.server.restore()
		for _, r := range p.server.list() {
			p.server.must(0, "rm", p.server.name, r.Checkpoint)
		}
		p.goesOn(a.done)
		if a.check != nil {
			a.check(p)
		}
	}
	return a.end(p)
}

// endClient stops the client and returns all that it has said.
func (p *loaded) endClient(signal string) string {
	p.t.Helper()
	p.wantsClient()
	// With its share of the processor it may take longer than Docker waits for it.
	p.client.daemon(func(ctx context.Context, cli *client.Client) error {
		_ = cli.ContainerKill(ctx, p.client.name, signal)
		return nil
	})
	if !until(patience, func() bool { return p.client.state() == "exited" }) {
		p.t.Fatalf("the client does not end at SIG%s: %s", signal, p.client.logs("5"))
	}
	return p.client.logs("all")
}
