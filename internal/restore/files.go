package restore

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/checkpointctl/checkpointctl/internal/changes"
	"github.com/checkpointctl/checkpointctl/internal/criu"
	"github.com/checkpointctl/checkpointctl/internal/docker"
	"github.com/checkpointctl/checkpointctl/internal/metadata"
)

// unchanged compares the container's files with the moment of the checkpoint.
// Memory of then with files of now corrupts what keeps both in step, a database
// for one: it is refused by a *changes.RefusedError. What others may have changed
// with good reason is only told.
func (r *Restorer) unchanged(ctx context.Context, c docker.Container, from source) error {
	name := from.Name + "/" + from.Checkpoint
	switch {
	case from.FrozenAt.IsZero():
		r.warn(name + " is of an older version and does not say when the container was frozen: whether its files changed since cannot be checked")
		return nil
	case time.Now().Before(from.FrozenAt):
		r.warn(name + " is of a later time than this host's clock has: whether files changed since cannot be checked")
		return nil
	}
	found, blind, err := r.search(ctx, c, from)
	for _, what := range blind {
		r.warn("whether files changed since " + name + " cannot be checked in " + what)
	}
	switch {
	case err != nil && ctx.Err() == nil && r.KeepFiles:
		r.warn(err.Error())
		return nil
	case err != nil:
		return err
	}
	if found.Shared.Total > 0 {
		r.warn(fmt.Sprintf("changes since %s where others may make them, too: %s", name, found.Shared.String()))
	}
	switch {
	case found.Own.Total == 0:
		return nil
	case r.KeepFiles && found.Resized == nil:
		r.warn(fmt.Sprintf("files stay as they are now, with changes since %s: %s", name, found.Own.String()))
		return nil
	default:
		return &changes.RefusedError{Container: c.Name, Checkpoint: name, State: c.State, Changes: found.Own, Resized: found.Resized}
	}
}

// search returns also the places that it cannot look into.
func (r *Restorer) search(ctx context.Context, c docker.Container, from source) (changes.Found, []string, error) {
	volumes, err := r.Docker.Volumes(ctx, c.ID)
	if err != nil {
		return changes.Found{}, nil, err
	}
	used, err := criu.ReadInUse(from.dir)
	if err != nil {
		return changes.Found{}, nil, damaged(from.Record, []string{err.Error()})
	}
	s := changes.Search{
		Since: from.FrozenAt, InUse: used.Files, Sizes: used.Sizes, Written: used.Written, Ghosts: used.Ghosts, RanOn: from.Options.LeaveRunning,
	}
	var blind []string
	s.Places, blind = places(from.Record, c, volumes)
	// docker cp and docker export make a directory in the root and remove it again
	// (pivotRoot in moby's pkg/chrootarchive).
	s.Ghosts = append(s.Ghosts, criuPlace(s.Places), "/")
	for _, m := range from.Mounts {
		s.Mounts = append(s.Mounts, m.Path)
	}
	found, err := s.Run(ctx)
	return found, blind, err
}

// places are where files of the container lie on the host, and what cannot be
// looked into. A newer container has a layer and perhaps volumes of its own.
func places(rec metadata.Record, c docker.Container, volumes []docker.Volume) (list []changes.Place, blind []string) {
	newer := !rec.IsOf(c.ID)
	upper := c.UpperDir
	if upper == "" && !newer {
		upper = rec.UpperDir
	}
	if upper == "" {
		blind = append(blind, "the container's own layer: storage driver "+c.Driver)
	} else {
		list = append(list, changes.Place{Path: "/", Source: upper, Layer: true, Foreign: newer})
	}
	for _, m := range rec.Mounts {
		clock := clockOf(m.FSType)
		if m.Source == "" || clock == ofKernel || isDockers(m, rec) {
			continue
		}
		p := changes.Place{Path: m.Path, Source: m.Source, Shared: true}
		away := false
		i := slices.IndexFunc(volumes, func(v docker.Volume) bool { return v.Source == m.Source || v.Destination == m.Path })
		if i >= 0 {
			p.Shared, away = len(volumes[i].Others) > 0, volumes[i].Away
			if newer {
				p.Foreign, p.Source = volumes[i].Source != m.Source, volumes[i].Source
				p.Remounted = !p.Foreign
			}
		} else if source := sourceOf(m, rec, c); source != m.Source {
			p.Foreign, p.Source = true, source
		}
		if away || clock == ofOthers {
			blind = append(blind, fmt.Sprintf("%s (%s)", m.Path, m.FSType))
			continue
		}
		list = append(list, p)
	}
	return list, blind
}

// criuPlace is the directory in which CRIU, in every dump and restore, makes a
// directory and removes it again: /tmp, or / in an image without one
// (criu/mount.c, get_clean_mnt and cr_pivot_root). In the former case /tmp is in
// the layer, since the checkpoint's own dump.
func criuPlace(list []changes.Place) string {
	for _, p := range list {
		if p.Layer {
			if _, err := os.Lstat(filepath.Join(p.Source, "tmp")); err != nil {
				return "/"
			}
		}
	}
	return "/tmp"
}

// isDockers says whether a mount is Docker's own, which writes it at each start:
// hosts, resolv.conf and hostname, secrets, the memory at /dev/shm.
func isDockers(m metadata.Mount, rec metadata.Record) bool {
	switch m.Path {
	case "/etc/hosts", "/etc/resolv.conf", "/etc/hostname", "/dev/shm":
		return true // with --network or --ipc container:, another container's
	}
	return strings.Contains(m.Source, rec.ID)
}

// whose clock the times of files are of
type clock int

const (
	ofHost   clock = iota
	ofKernel       // no files that are kept
	ofOthers       // a server's, or a program's: not to be compared with ours
)

func clockOf(fstype string) clock {
	switch fstype {
	case "proc", "sysfs", "cgroup", "cgroup2", "devpts", "devtmpfs", "debugfs", "tracefs", "securityfs", "configfs", "bpf", "mqueue", "nsfs":
		return ofKernel
	case "nfs", "nfs4", "cifs", "smb3", "ceph", "9p", "virtiofs", "fuse", "fuseblk", "lustre", "afs", "gfs2", "ocfs2", "vboxsf":
		return ofOthers
	}
	if strings.HasPrefix(fstype, "fuse.") {
		return ofOthers
	}
	return ofHost
}
