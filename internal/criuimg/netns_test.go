package criuimg

import (
	"strings"
	"testing"
	"testing/fstest"

	"github.com/checkpoint-restore/go-criu/v7/crit/images/netdev"
	"google.golang.org/protobuf/proto"

	"github.com/checkpointctl/checkpointctl/internal/criuimg/criuimgtest"
)

func idsImage(t *testing.T, netNS uint32) *fstest.MapFile {
	t.Helper()
	return &fstest.MapFile{Data: criuimgtest.IDs(t, netNS)}
}

func TestReadNetNS(t *testing.T) {
	for name, c := range map[string]struct {
		images fstest.MapFS
		want   uint32
		err    string
	}{
		"one":     {fstest.MapFS{"ids-1.img": idsImage(t, 10), "ids-7.img": idsImage(t, 10)}, 10, ""},
		"several": {fstest.MapFS{"ids-1.img": idsImage(t, 10), "ids-7.img": idsImage(t, 12)}, 0, "network namespace 12 is not 10"},
		"none":    {fstest.MapFS{}, 0, "no network namespace"},
	} {
		got, err := ReadNetNS(c.images)
		if got != c.want || (err == nil) != (c.err == "") || err != nil && !strings.Contains(err.Error(), c.err) {
			t.Errorf("%s: %d, %v", name, got, err)
		}
	}
}

func TestExternalNetNS(t *testing.T) {
	name, data, err := ExternalNetNS(10, "extRootNetNS")
	if err != nil || name != "netns-10.img" {
		t.Fatal(name, err)
	}
	keys := []string{}
	err = Decode(fstest.MapFS{name: {Data: data}}, name, func(m proto.Message) error {
		if e, ok := m.(*netdev.NetnsEntry); ok {
			keys = append(keys, e.GetExtKey())
		}
		return nil
	})
	if err != nil || len(keys) != 1 || keys[0] != "extRootNetNS" {
		t.Errorf("%q, %v", keys, err)
	}
}
