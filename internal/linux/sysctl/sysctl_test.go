package sysctl

import (
	"errors"
	"maps"
	"os"
	"reflect"
	"slices"
	"testing"
	"time"

	"github.com/checkpointctl/checkpointctl/internal/linux/netns"
	"github.com/checkpointctl/checkpointctl/internal/linux/netns/netnstest"
)

func TestMain(m *testing.M) { os.Exit(netnstest.Main(m)) }

// What one namespace has is found, and set in another, which then shows the same.
func TestChangedIsApplied(t *testing.T) {
	want := Settings{
		"net.ipv4.ip_forward":                 "1",
		"net.ipv4.conf.all.forwarding":        "1",
		"net.ipv4.conf.default.forwarding":    "0", // which ip_forward would set, too
		"net.ipv4.conf.lo.rp_filter":          "2",
		"net.ipv4.ip_unprivileged_port_start": "80",
		"net.ipv4.ip_local_port_range":        "90 95",
		"net.ipv4.ipfrag_high_thresh":         "3000",
		"net.ipv4.ipfrag_low_thresh":          "2000", // must be below the other all the time
		"net.ipv4.ping_group_range":           "0 0",
		"net.ipv4.tcp_congestion_control":     "reno",
		"net.ipv4.ip_local_reserved_ports":    "91,93-94",
		"net.ipv4.neigh.lo.mcast_solicit":     "9",
	}
	host := fresh(t)
	if host["net.ipv4.ip_forward"] == "1" { // the machine's is inherited
		want["net.ipv4.ip_forward"], want["net.ipv4.conf.all.forwarding"] = "0", "0"
		want["net.ipv4.conf.default.forwarding"] = "1"
	}
	if err := Apply(want); err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	got, interfaces, err := new(Reader).Changed(os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%d sysctls of a namespace read twice in %v", len(host), time.Since(began))
	for name, value := range want {
		if got[name] != value && host[name] != value {
			t.Errorf("%s is %q, not %q", name, got[name], value)
		}
	}
	if len(interfaces) != 0 {
		t.Errorf("interfaces: %v", interfaces)
	}
	err = netns.Fresh(func() error {
		if err := Apply(got); err != nil {
			return err
		}
		again, err := read()
		for name, value := range got {
			if again[name] != value {
				t.Errorf("%s is %q after it was set to %q", name, again[name], value)
			}
		}
		return err
	})
	if err != nil {
		t.Error(err)
	}
}

func fresh(t *testing.T) (all Settings) {
	t.Helper()
	if err := netns.Fresh(func() (err error) { all, err = read(); return err }); err != nil {
		t.Fatal(err)
	}
	if len(all) < 100 {
		t.Fatalf("only %d sysctls: %v", len(all), slices.Collect(maps.Keys(all)))
	}
	return all
}

func TestWhatCannotBeSetIsNamed(t *testing.T) {
	err := netns.Fresh(func() error {
		return Apply(Settings{
			"net.ipv4.conf.none0/7.rp_filter": "1", // eth0.7 is such an interface
			"net.ipv4.nothing":                "1",
			"net.ipv4.conf.lo.rp_filter":      "1",
			"net.ipv4.ip_default_ttl":         "999",
			"kernel.hostname":                 "x",
			"net.//.//.etc.hostname":          "x",
		})
	})
	var e *Error
	if !errors.As(err, &e) {
		t.Fatal(err)
	}
	if want := []string{"net.ipv4.nothing", "net.ipv4.conf.none0/7.rp_filter"}; !reflect.DeepEqual(e.Missing, want) {
		t.Errorf("missing %q", e.Missing)
	}
	var failed []string
	for _, f := range e.Failed {
		failed = append(failed, f.Name)
		if f.Err == nil {
			t.Errorf("%s: no reason", f.Name)
		}
	}
	if want := []string{"kernel.hostname", "net.//.//.etc.hostname", "net.ipv4.ip_default_ttl"}; !reflect.DeepEqual(failed, want) {
		t.Errorf("failed %q", failed)
	}
}

func TestInterfacesAreApart(t *testing.T) {
	namespace, interfaces := compare(Settings{
		"net.core.somaxconn":              "777",
		"net.core.busy_poll":              "0",
		"net.ipv4.conf.default.rp_filter": "2",
		"net.ipv4.conf.eth0.rp_filter":    "2", // started with it
		"net.ipv4.conf.eth1/5.rp_filter":  "0",
		"net.ipv4.conf.lo.rp_filter":      "1",
		"net.ipv4.neigh.lo.app_solicit":   "0",
		"net.ipv4.neigh.eth0.app_solicit": "3",
		"net.late.module":                 "1", // not there when the new namespace was read
	}, Settings{
		"net.core.somaxconn":              "4096",
		"net.core.busy_poll":              "0",
		"net.ipv4.conf.default.rp_filter": "0",
		"net.ipv4.conf.lo.rp_filter":      "0",
		"net.ipv4.neigh.lo.app_solicit":   "0",
	})
	if want := (Settings{"net.core.somaxconn": "777", "net.ipv4.conf.default.rp_filter": "2", "net.ipv4.conf.lo.rp_filter": "1"}); !maps.Equal(namespace, want) {
		t.Errorf("namespace %v", namespace)
	}
	if want := (Settings{"net.ipv4.conf.eth1/5.rp_filter": "0", "net.ipv4.neigh.eth0.app_solicit": "3"}); !maps.Equal(interfaces, want) {
		t.Errorf("interfaces %v", interfaces)
	}
}

// A secret in a record would be readable where everything else is encrypted.
func TestNoSecretIsRead(t *testing.T) {
	for name := range fresh(t) {
		if left(name) {
			t.Errorf("%s was read", name)
		}
	}
	for _, name := range []string{"net.ipv4.tcp_fastopen_key", "net.ipv6.conf.eth0.stable_secret", "net.ipv6.conf.eth0.mtu"} {
		if !left(name) {
			t.Errorf("%s is not left out", name)
		}
	}
}
