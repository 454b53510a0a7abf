package snapshot

import (
	"fmt"
	"path"
	"strings"

	"github.com/checkpoint-restore/go-criu/v7/crit/images/mnt"
	"golang.org/x/sys/unix"
	"google.golang.org/protobuf/proto"
)

// Mount is one of the mounts of the container.
type Mount struct {
	Path     string `json:"path"`
	FSType   string `json:"fs_type"`
	Source   string `json:"source"`
	Root     string `json:"root"` // of the mount, in its filesystem
	Options  string `json:"options"`
	ReadOnly bool   `json:"read_only"`
	// External is the name by which a restore is told what to mount; empty for a mount
	// that CRIU makes itself.
	External string `json:"external,omitempty"`
}

// maxMounts is more than fs.mount-max allows by default.
const maxMounts = 1 << 18

func (s *Snapshot) mount(m proto.Message) error {
	e, ok := m.(*mnt.MntEntry)
	if !ok {
		return nil
	}
	if len(s.Mounts) >= maxMounts {
		return fmt.Errorf("is one of more than %d", maxMounts)
	}
	kind := e.GetFsname()
	if kind == "" {
		kind = strings.ToLower(mnt.Fstype(e.GetFstype()).String())
	}
	s.Mounts = append(s.Mounts, Mount{
		Path: path.Join("/", e.GetMountpoint()), FSType: kind, Source: e.GetSource(), Root: e.GetRoot(), Options: e.GetOptions(),
		ReadOnly: e.GetFlags()&unix.MS_RDONLY != 0 || e.GetSbFlags()&unix.MS_RDONLY != 0, External: e.GetExtKey(),
	})
	return nil
}
