package criuimg

import (
	"testing"
	"testing/fstest"

	"github.com/checkpoint-restore/go-criu/v7/crit/images/mnt"
	"google.golang.org/protobuf/proto"

	"github.com/checkpointctl/checkpointctl/internal/criuimg/criuimgtest"
)

func TestWithoutMasters(t *testing.T) {
	entry := func(id, shared, master uint32) proto.Message {
		return &mnt.MntEntry{
			MntId: &id, RootDev: proto.Uint32(1), ParentMntId: proto.Uint32(0), Flags: proto.Uint32(0), Root: proto.String("/"), Mountpoint: proto.String("/data"),
			Source: proto.String("none"), Options: proto.String(""), Fstype: proto.Uint32(0), SharedId: &shared, MasterId: &master, ExtKey: proto.String("/data"),
		}
	}
	images := fstest.MapFS{
		"mountpoints-13.img": {Data: criuimgtest.Image(t, "MNTS", entry(1, 0, 7), entry(2, 9, 0), entry(3, 0, 9))},
		"mountpoints-14.img": {Data: criuimgtest.Image(t, "MNTS", entry(1, 5, 0), entry(2, 0, 5))},
	}
	slaves, err := Slaves(images)
	if err != nil || len(slaves) != 1 || !slaves["/data"] {
		t.Errorf("slaves %v, %v", slaves, err)
	}
	changed, err := WithoutMasters(images)
	if err != nil || len(changed) != 1 {
		t.Fatal(len(changed), err)
	}
	var masters []uint32
	err = Decode(fstest.MapFS{"mountpoints-13.img": {Data: changed["mountpoints-13.img"]}}, "mountpoints-13.img", func(m proto.Message) error {
		e := m.(*mnt.MntEntry)
		masters = append(masters, e.GetMasterId())
		if e.GetExtKey() != "/data" {
			t.Errorf("the key is lost: %v", e)
		}
		return nil
	})
	if err != nil || len(masters) != 3 || masters[0] != 0 || masters[1] != 0 || masters[2] != 9 {
		t.Errorf("masters %v, %v", masters, err)
	}
}
