package docker

import (
	"net/netip"
	"reflect"
	"testing"

	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/network"
	"github.com/docker/go-connections/nat"
)

func TestSettings(t *testing.T) {
	yes := true
	r := container.InspectResponse{
		ContainerJSONBase: &container.ContainerJSONBase{HostConfig: &container.HostConfig{
			CapAdd: []string{"net_admin", "CAP_CHOWN", "NET_ADMIN"}, Init: &yes, Tmpfs: map[string]string{"/run/": "size=1m,ro"},
			PortBindings: nat.PortMap{"80/tcp": {{HostIP: "127.0.0.1", HostPort: "8080"}}, "53/udp": {{HostPort: "53"}}},
		}},
		Config: &container.Config{Hostname: "web", User: "app"},
		Mounts: []container.MountPoint{{Type: "volume", Name: "v", Source: "/vol/v", Destination: "/data", RW: true}},
		NetworkSettings: &container.NetworkSettings{Networks: map[string]*network.EndpointSettings{
			"mine":   {IPAMConfig: &network.EndpointIPAMConfig{IPv4Address: "10.1.0.5"}},
			"bridge": {},
		}},
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
