package criuimg

import (
	"encoding/binary"
	"io/fs"

	"github.com/checkpoint-restore/go-criu/v7/crit/images/mnt"
	"google.golang.org/protobuf/proto"
)

// WithoutMasters returns the images of mounts, by name, in which no mount gets the changes
// that are made to one outside of the container any more; those without such mounts are
// left out. CRIU makes such a mount only if what is mounted there by whoever restores is a
// shared mount (criu/mount-v2.c, restore_one_sharing).
func WithoutMasters(images fs.FS) (map[string][]byte, error) {
	return changeMounts(images, func(entries []*mnt.MntEntry) bool {
		slaves := slavesOf(entries)
		for _, e := range slaves {
			e.MasterId = proto.Uint32(0)
		}
		return slaves != nil
	})
}

// Slaves returns the paths of the mounts that get the changes that are made to one outside
// of the container.
func Slaves(images fs.FS) (map[string]bool, error) {
	paths := map[string]bool{}
	_, err := changeMounts(images, func(entries []*mnt.MntEntry) bool {
		for _, e := range slavesOf(entries) {
			paths[e.GetMountpoint()] = true
		}
		return false
	})
	return paths, err
}

// slavesOf are the mounts whose master is not in the container.
func slavesOf(entries []*mnt.MntEntry) (slaves []*mnt.MntEntry) {
	inside := map[uint32]bool{}
	for _, e := range entries {
		inside[e.GetSharedId()] = true
	}
	for _, e := range entries {
		if e.GetMasterId() != 0 && !inside[e.GetMasterId()] {
			slaves = append(slaves, e)
		}
	}
	return slaves
}

// changeMounts returns the images of mounts, by name, whose entries change says that it
// has changed.
func changeMounts(images fs.FS, change func([]*mnt.MntEntry) bool) (map[string][]byte, error) {
	found, err := fs.Glob(images, "mountpoints-*.img")
	if err != nil {
		return nil, err
	}
	changed := map[string][]byte{}
	for _, name := range found {
		var entries []*mnt.MntEntry
		err := Decode(images, name, func(m proto.Message) error {
			if e, ok := m.(*mnt.MntEntry); ok {
				entries = append(entries, e)
			}
			return nil
		})
		if err != nil {
			return nil, err
		}
		if !change(entries) {
			continue
		}
		if changed[name], err = encodeMounts(entries); err != nil {
			return nil, err
		}
	}
	return changed, nil
}

func encodeMounts(entries []*mnt.MntEntry) ([]byte, error) {
	words := magics().ByName
	image := binary.LittleEndian.AppendUint32(nil, uint32(words["IMG_COMMON"]))
	image = binary.LittleEndian.AppendUint32(image, uint32(words["MNTS"]))
	for _, e := range entries {
		data, err := proto.Marshal(e)
		if err != nil {
			return nil, err
		}
		image = append(binary.LittleEndian.AppendUint32(image, uint32(len(data))), data...)
	}
	return image, nil
}
