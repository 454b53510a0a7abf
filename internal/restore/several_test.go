package restore

import (
	"errors"
	"strings"
	"testing"

	"github.com/checkpointctl/checkpointctl/internal/docker"
)

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
