package docker

import (
	"encoding/json"
	"net/netip"
	"reflect"
	"testing"

	"github.com/docker/docker/api/types/container"
)

const inspected = `{
  "HostConfig": {
    "CapAdd": ["net_admin", "CAP_CHOWN", "NET_ADMIN"], "Init": true, "Tmpfs": {"/run/": "size=1m,ro"},
    "PortBindings": {"80/tcp": [{"HostIp": "127.0.0.1", "HostPort": "8080"}], "53/udp": [{"HostPort": "53"}]}
  },
  "Config": {"Hostname": "web", "User": "app"},
  "Mounts": [{"Type": "volume", "Name": "v", "Source": "/vol/v", "Destination": "/data", "RW": true}],
  "NetworkSettings": {"Networks": {"mine": {"IPAMConfig": {"IPv4Address": "10.1.0.5"}}, "bridge": {"IPAMConfig": null}}}
}`

func TestSettings(t *testing.T) {
	var r container.InspectResponse
	if err := json.Unmarshal([]byte(inspected), &r); err != nil {
		t.Fatal(err)
	}
	want := Settings{
		Hostname: "web", User: "app", CapAdd: []string{"CHOWN", "NET_ADMIN"}, Init: true,
		Ports: []string{"127.0.0.1:8080->80/tcp", "53->53/udp"},
		Mounts: []MountSetting{
			{Type: "volume", Name: "v", Source: "/vol/v", Destination: "/data"},
			{Type: "tmpfs", Destination: "/run", ReadOnly: true},
		},
		FixedIPs: []netip.Addr{netip.MustParseAddr("10.1.0.5")}, ChosenIP: true,
	}
	if got := settings(r); !reflect.DeepEqual(got, want) {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
	r.HostConfig.NetworkMode = "none"
	if got := settings(r); got.ChosenIP || got.FixedIPs != nil {
		t.Errorf("without a network: %+v", got)
	}
}
