//go:build e2e

package e2e

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/checkpointctl/checkpointctl/internal/metadata"
)

// stored is the record of a checkpoint, as the store has it.
func (b *box) stored(name string) (r metadata.Record) {
	b.t.Helper()
	data, err := os.ReadFile(filepath.Join(b.store, b.name, name, metadata.RecordFile))
	if err == nil {
		err = json.Unmarshal(data, &r)
	}
	if err != nil {
		b.t.Fatal(err)
	}
	return r
}

// inNet runs a command of the host in the container's network namespace.
func (b *box) inNet(args ...string) string {
	b.t.Helper()
	out, err := exec.Command("nsenter", append([]string{"-t", b.pid(), "-n"}, args...)...).CombinedOutput()
	if err != nil {
		b.t.Fatalf("%s: %v: %s", strings.Join(args, " "), err, out)
	}
	return strings.TrimSpace(string(out))
}

// What the container's network has set is recorded, whoever did it.
func TestSysctlsAreRecorded(t *testing.T) {
	b := start(t, "--sysctl", "net.core.somaxconn=777", "--sysctl", "net.ipv4.ip_forward=0", baseImage, "sh", "-c", counting)
	b.await(1)
	b.inNet("sh", "-c", `echo "20000 30000" >/proc/sys/net/ipv4/ip_local_port_range; echo 7 >/proc/sys/net/ipv4/conf/eth0/medium_id`)
	r := b.stored(b.checkpoint())
	want := map[string]string{"net.core.somaxconn": "777", "net.ipv4.ip_local_port_range": "20000 30000"}
	fresh := func(name string) string {
		out, err := exec.Command("unshare", "--net", "cat", "/proc/sys/"+strings.ReplaceAll(name, ".", "/")).Output()
		if err != nil {
			t.Fatal(err)
		}
		return strings.Join(strings.Fields(string(out)), " ")
	}
	// Some Dockers let anybody ping and listen on any port; a new namespace
	// may have what the host has.
	for _, name := range []string{"net.ipv4.ip_forward", "net.ipv4.ip_unprivileged_port_start", "net.ipv4.ping_group_range"} {
		now := strings.Join(strings.Fields(b.inNet("cat", "/proc/sys/"+strings.ReplaceAll(name, ".", "/"))), " ")
		if now != fresh(name) {
			want[name] = now
		}
	}
	for name, value := range want {
		if r.Sysctls[name] != value {
			t.Errorf("%s is recorded as %q, not %q", name, r.Sysctls[name], value)
		}
	}
	for name, value := range r.Sysctls {
		if strings.Contains(name, "eth0") || value == fresh(name) {
			t.Errorf("%s=%s does not belong there", name, value)
		}
	}
	if r.InterfaceSysctls["net.ipv4.conf.eth0.medium_id"] != "7" {
		t.Errorf("interfaces: %v", r.InterfaceSysctls)
	}
	t.Logf("%d of the namespace: %v, of interfaces: %v", len(r.Sysctls), r.Sysctls, r.InterfaceSysctls)
}

// The host's own are nobody's to restore.
func TestSysctlsOfTheHostAreNotRecorded(t *testing.T) {
	b := start(t, "--network", "host", baseImage, "sh", "-c", counting)
	b.await(1)
	if r := b.stored(b.checkpoint()); len(r.Sysctls)+len(r.InterfaceSysctls)+len(r.Connections) != 0 {
		t.Errorf("recorded %v, %v, %v", r.Sysctls, r.InterfaceSysctls, r.Connections)
	}
}

// A restore brings them back, those of an interface, too.
func TestSysctlsComeBack(t *testing.T) {
	b := start(t, "--sysctl", "net.core.somaxconn=777", "--sysctl", "net.ipv4.ip_forward=0", baseImage, "sh", "-c", counting)
	at := b.await(8)
	b.inNet("sh", "-c", `echo "20000 30000" >/proc/sys/net/ipv4/ip_local_port_range; echo 7 >/proc/sys/net/ipv4/conf/eth0/medium_id`)
	names := []string{
		"net/core/somaxconn", "net/ipv4/ip_forward", "net/ipv4/ip_local_port_range", "net/ipv4/conf/eth0/medium_id",
		"net/ipv4/ip_unprivileged_port_start", "net/ipv4/ping_group_range",
	}
	values := func() string { return b.inNet(append([]string{"grep", "-H", ""}, prefixed("/proc/sys/", names)...)...) }
	before := values()
	b.checkpoint("--leave-running=false")
	b.restore()
	if after := values(); after != before {
		t.Errorf("were\n%s\nand are\n%s", before, after)
	}
	b.goesOn(at)
}

func prefixed(prefix string, list []string) (out []string) {
	for _, s := range list {
		out = append(out, prefix+s)
	}
	return out
}
