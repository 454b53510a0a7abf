package restore

import (
	"errors"
	"strings"
	"testing"

	"github.com/checkpointctl/checkpointctl/internal/docker"
)

// Who owns a namespace hears nothing until those that share it are back.
func TestHold(t *testing.T) {
	members := []Member{
		{Container: docker.Container{ID: "a"}},
		{Container: docker.Container{ID: "b", NetworkMode: "container:a"}},
		{Container: docker.Container{ID: "c"}},
	}
	ready := make([]prepared, len(members))
	if owners := holdPackets(members, ready); owners != nil || ready[0].plan.Request.HoldPackets {
		t.Errorf("without connections: %+v", owners)
	}
	ready[1].plan.Request.TCPEstablished = true
	ready[2].plan.Request.TCPEstablished = true
	owners := holdPackets(members, ready)
	if len(owners) != 1 || owners[0].Container.ID != "a" || !ready[0].plan.Request.HoldPackets || !ready[0].plan.Request.KeepHold || ready[2].plan.Request.KeepHold {
		t.Errorf("owners %+v", owners)
	}
}

func TestOrdered(t *testing.T) {
	member := func(id, network, ipc string) Member {
		return Member{Container: docker.Container{ID: id, NetworkMode: network, Settings: docker.Settings{IPCMode: ipc}}}
	}
	for _, test := range []struct {
		members []Member
		want    string
	}{
		{[]Member{member("a", "bridge", "private"), member("b", "host", "")}, "a b"},
		{[]Member{member("a", "container:b", ""), member("b", "bridge", "container:c"), member("c", "", "shareable")}, "c b a"},
		{[]Member{member("a", "container:gone", ""), member("b", "container:a", "container:a")}, "a b"},
		{[]Member{member("a", "container:b", ""), member("b", "", "container:a")}, ""},
	} {
		list, err := Ordered(test.members)
		var ids []string
		for _, m := range list {
			ids = append(ids, m.Container.ID)
		}
		if got := strings.Join(ids, " "); got != test.want || errors.Is(err, ErrCircle) != (test.want == "") {
			t.Errorf("%+v: %q, %v", test.members, got, err)
		}
	}
}
