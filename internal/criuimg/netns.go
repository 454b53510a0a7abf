package criuimg

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"

	criu_core "github.com/checkpoint-restore/go-criu/v7/crit/images/criu-core"
	"github.com/checkpoint-restore/go-criu/v7/crit/images/netdev"
	"google.golang.org/protobuf/proto"
)

// ReadNetNS returns the ID that a dump gave to the network namespace of its tasks. It is
// an error if they are in several.
func ReadNetNS(images fs.FS) (uint32, error) {
	found, err := fs.Glob(images, "ids-*.img")
	if err != nil {
		return 0, err
	}
	id := uint32(0)
	for _, name := range found {
		err := Decode(images, name, func(m proto.Message) error {
			e, ok := m.(*criu_core.TaskKobjIdsEntry)
			switch {
			case !ok || e.GetNetNsId() == 0 || e.GetNetNsId() == id:
				return nil
			case id != 0:
				return fmt.Errorf("its network namespace %d is not %d, that of others", e.GetNetNsId(), id)
			}
			id = e.GetNetNsId()
			return nil
		})
		if err != nil {
			return 0, err
		}
	}
	if id == 0 {
		return 0, errors.New("ids-*.img: no network namespace")
	}
	return id, nil
}

// ExternalNetNS returns the name and the content of the image that says of a network
// namespace that whoever restores the tasks provides it, by this key (NETNS in CRIU's
// criu/image-desc.c, dump_net_ns in criu/net.c).
func ExternalNetNS(id uint32, key string) (name string, image []byte, err error) {
	entry, err := proto.Marshal(&netdev.NetnsEntry{ExtKey: &key})
	if err != nil {
		return "", nil, err
	}
	words := magics().ByName
	for _, word := range [...]uint64{words["IMG_COMMON"], words["NETNS"], uint64(len(entry))} {
		image = binary.LittleEndian.AppendUint32(image, uint32(word))
	}
	return fmt.Sprintf("netns-%d.img", id), append(image, entry...), nil
}
