//go:build e2e

package e2e

import (
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/checkpointctl/checkpointctl/internal/linux/sockopt"
	"github.com/checkpointctl/checkpointctl/internal/linux/tasks"
)

// sockets are those of the container that have what a new one does not.
func (b *box) sockets() []sockopt.Socket {
	b.t.Helper()
	pid := b.inspect().State.Pid
	processes, err := tasks.Processes(pid)
	if err != nil {
		b.t.Fatal(err)
	}
	list, err := sockopt.Read(pid, processes)
	if err != nil {
		b.t.Fatal(err)
	}
	slices.SortFunc(list, func(a, b sockopt.Socket) int { return a.FD - b.FD })
	return list
}

// A program that is told of a datagram's address and hops, or receives a group, goes on to.
func TestSocketsKeepTheirOptions(t *testing.T) {
	t.Parallel()
	b := start(t, python(`
import select, struct, threading
group = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
group.bind(("", 7000))
group.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, socket.inet_aton("239.1.2.3") + socket.inet_aton("0.0.0.0"))
group.setsockopt(socket.IPPROTO_IP, 12, 1)                     # IP_RECVTTL
def receive():
    while True:
        data, more, _, _ = group.recvmsg(100, 100)
        print(data.decode(), "hops", struct.unpack("i", more[0][2])[0] if more else "unknown", flush=True)
threading.Thread(target=receive, daemon=True).start()
server = socket.create_server(("", 7001))
client = socket.create_connection(("127.0.0.1", 7001)); peer, _ = server.accept()
client.setsockopt(socket.IPPROTO_TCP, 18, 5000)               # TCP_USER_TIMEOUT
client.setsockopt(socket.IPPROTO_TCP, 13, b"reno")             # TCP_CONGESTION
server.setsockopt(socket.IPPROTO_TCP, 9, 7)                    # TCP_DEFER_ACCEPT
`)...)
	at := b.await(8)
	send := func(text string) {
		t.Helper()
		docker(t, "exec", b.name, "python3", "-c", `
import socket
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_TTL, 3)
s.sendto(b"`+text+`", ("239.1.2.3", 7000))`)
		b.await(b.count() + 2)
		if logs := b.logs("20"); !strings.Contains(logs, text+" hops 3") {
			t.Errorf("no %s in the log: %s", text, logs)
		}
	}
	send("before")
	before := b.sockets()
	if len(before) != 3 {
		t.Fatalf("%+v", before)
	}
	for _, leaveRunning := range []string{"--leave-running", "--leave-running=false"} {
		b.checkpoint(leaveRunning)
		if b.state() == "running" {
			b.kill()
		}
		b.restore()
		b.goesOn(at)
		if now := b.sockets(); !reflect.DeepEqual(now, before) {
			t.Errorf("after %s: %#v, want %#v", leaveRunning, now, before)
		}
		send("after" + leaveRunning)
	}
}
