//go:build e2e

package e2e

import (
	"net"
	"strconv"
	"strings"
	"testing"
)

// What a restore needs of the host or of the container's limits is looked at
// before Docker is asked.
func TestResourcesOfARestore(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	port := addrPort(l.Addr()).Port()
	_ = l.Close()
	b := start(t, append([]string{"--network", "host", "--memory", "512m"}, python(`
s = socket.create_server(("127.0.0.1", `+strconv.Itoa(int(port))+`)); memory = os.urandom(96 << 20)`)...)...)
	at := b.await(8)
	b.checkpoint("--leave-running=false")
	refused := func(want string) {
		t.Helper()
		if r := b.must(23, "restore", b.name); !strings.Contains(r.stderr, "checkpoint does not fit: "+b.name+"/checkpoint1 "+want) || strings.Contains(r.stderr, "restore failed") {
			t.Errorf("stderr: %s", r.stderr)
		}
	}
	if l, err = net.Listen("tcp", l.Addr().String()); err != nil {
		t.Fatal(err)
	}
	refused("needs the port " + strconv.Itoa(int(port)) + ", which process ")
	_ = l.Close()
	docker(t, "update", "--memory", "64m", "--memory-swap", "64m", b.name)
	refused("has ")
	docker(t, "update", "--memory", "512m", "--memory-swap", "512m", b.name)
	b.restore()
	b.goesOn(at)
}
