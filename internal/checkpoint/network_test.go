package checkpoint

import (
	"net/netip"
	"os"
	"os/exec"
	"reflect"
	"syscall"
	"testing"

	"github.com/checkpointctl/checkpointctl/internal/docker"
	"github.com/checkpointctl/checkpointctl/internal/linux/conntrack"
	"github.com/checkpointctl/checkpointctl/internal/linux/dockerproxy"
	"github.com/checkpointctl/checkpointctl/internal/linux/netns"
	"github.com/checkpointctl/checkpointctl/internal/linux/sysctl"
	"github.com/checkpointctl/checkpointctl/internal/metadata"
)

func TestNetworkOfARecord(t *testing.T) {
	at := netip.MustParseAddrPort
	n := network{
		sysctls: sysctl.Settings{"net.core.somaxconn": "777"}, interfaceSysctls: sysctl.Settings{"net.ipv4.conf.eth0.rp_filter": "2"},
		connections: []conntrack.Entry{{Protocol: "tcp", Source: at("192.0.2.1:1"), Destination: at("192.0.2.2:2"), ReplySource: at("172.17.0.2:3"), ReplyDestination: at("192.0.2.1:1"), State: 3}},
		proxied:     []dockerproxy.Connection{{Peer: at("172.17.0.1:4"), Address: at("172.17.0.2:3")}},
	}
	var r metadata.Record
	for range 2 { // as for a container that ends with its dump
		n.into(&r)
	}
	want := metadata.Record{
		Sysctls: map[string]string{"net.core.somaxconn": "777"}, InterfaceSysctls: map[string]string{"net.ipv4.conf.eth0.rp_filter": "2"},
		Connections:        []metadata.Connection{metadata.Connection(n.connections[0])},
		ProxiedConnections: []metadata.ProxiedConnection{{Peer: at("172.17.0.1:4"), Address: at("172.17.0.2:3")}},
	}
	if !reflect.DeepEqual(r, want) {
		t.Errorf("%+v", r)
	}
}

// A container in the host's network, or in another container's, has nothing of
// its own to read: reading would fail here, for there is no such process.
func TestNetworkOfOthersIsNotRead(t *testing.T) {
	for _, mode := range []string{"host", "container:x"} {
		c := docker.Container{PID: -1, NetworkMode: mode, Networks: []docker.Network{{IP: "172.17.0.2"}}}
		var n network
		if err := n.readSysctls(new(sysctl.Reader), c); err != nil || n.sysctls != nil {
			t.Errorf("%s: %v, %v", mode, n.sysctls, err)
		}
		if w := n.readConnections(c, true); w != nil || n.connections != nil {
			t.Errorf("%s: %v, %v", mode, n.connections, w)
		}
	}
	own := docker.Container{PID: -1}
	if err := (&network{}).readSysctls(new(sysctl.Reader), own); err == nil {
		t.Error("the sysctls of no process were read")
	}
}

func TestAddresses(t *testing.T) {
	got := addressesOf(docker.Container{Networks: []docker.Network{{IP: "172.17.0.2", IPv6: "fd00::2"}, {Name: "none"}}})
	if want := []netip.Addr{netip.MustParseAddr("172.17.0.2"), netip.MustParseAddr("fd00::2")}; !reflect.DeepEqual(got, want) {
		t.Errorf("%v", got)
	}
}

// Its parent's is the daemon's: empty where that is ours, too.
func TestNetworkOfTheDaemon(t *testing.T) {
	if got := DaemonNetNS(-1); got != "" {
		t.Errorf("of no process: %s", got)
	}
	// A shell in another network with a child that says who it is.
	cmd := exec.Command("sh", "-c", `sh -c 'echo $$; exec cat'; :`)
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNET}
	if os.Geteuid() != 0 {
		cmd.SysProcAttr.Cloneflags |= syscall.CLONE_NEWUSER
	}
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = in.Close(); _ = cmd.Wait() }()
	if got := DaemonNetNS(cmd.Process.Pid); got != "" {
		t.Errorf("of our child: %s", got)
	}
	line := make([]byte, 16)
	n, err := out.Read(line)
	if err != nil {
		t.Fatal(err)
	}
	var pid int
	for _, digit := range line[:n] {
		if digit >= '0' && digit <= '9' {
			pid = pid*10 + int(digit-'0')
		}
	}
	if got := DaemonNetNS(pid); got != netns.Of(cmd.Process.Pid) {
		t.Errorf("of its child %d: %q, want %s", pid, got, netns.Of(cmd.Process.Pid))
	}
}
