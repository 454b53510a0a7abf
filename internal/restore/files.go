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
	"github.com/checkpointctl/checkpointctl/internal/criuimg"
	"github.com/checkpointctl/checkpointctl/internal/docker"
	"github.com/checkpointctl/checkpointctl/internal/layer"
	"github.com/checkpointctl/checkpointctl/internal/metadata"
)

// What restore does about files that changed since the checkpoint.
const (
	RefuseFiles   = "refuse"
	KeepFiles     = "keep"
	RollbackFiles = "rollback"
)

// files compares the container's files with the moment of the checkpoint, and
// returns those that are to become what they were. Memory of then with files of
// now corrupts what keeps both in step, a database for one: it is refused by a
// *changes.RefusedError. What others may have changed with good reason is only
// told.
func (r *Restorer) files(ctx context.Context, c docker.Container, from source) ([]fill, error) {
	name := from.Name + "/" + from.Checkpoint
	switch {
	case from.FrozenAt.IsZero():
		r.warn(name + " is of an older version and does not say when the container was frozen: whether its files changed since cannot be checked")
		return nil, nil
	case time.Now().Before(from.FrozenAt):
		r.warn(name + " is of a later time than this host's clock has: whether files changed since cannot be checked")
		return nil, nil
	}
	c, err := r.layered(ctx, c, from)
	if err != nil {
		return nil, err
	}
	s, blind, err := r.search(ctx, c, from)
	if err != nil {
		return nil, err
	}
	for _, what := range blind {
		r.warn("whether files changed since " + name + " cannot be checked in " + what)
	}
	found, err := s.Run(ctx)
	switch {
	case err != nil && ctx.Err() == nil && r.Files == KeepFiles:
		r.warn(err.Error())
		return nil, nil
	case err != nil:
		return nil, err
	}
	refused := func(f changes.Found, rollBack bool) error {
		return &changes.RefusedError{
			Container: c.Name, Checkpoint: name, State: c.State,
			Changes: f.Own, Resized: f.Resized, Missing: f.Missing, RollBack: rollBack,
		}
	}
	if found.Shared.Total > 0 {
		r.warn(fmt.Sprintf("changes since %s where others may make them, too: %s", name, found.Shared.String()))
	}
	if r.Files == KeepFiles && found.Resized == nil && found.Missing == nil {
		if found.Own.Total > 0 {
			r.warn(fmt.Sprintf("files stay as they are now, with changes since %s: %s", name, found.Own.String()))
		}
		return nil, nil
	}
	filled, rest := fills(from, s)
	if found.Own.Total == 0 && found.Missing == nil {
		return filled, nil
	}
	left, err := rest.Run(ctx)
	switch {
	case err != nil:
		return nil, err
	case r.Files != RollbackFiles:
		return nil, refused(found, left.Own.Total == 0 && left.Missing == nil)
	case left.Own.Total > 0 || left.Missing != nil:
		return nil, refused(left, false)
	}
	return changed(ctx, s, from, filled)
}

// layered finds the layer of a container other than the checkpoint's own, whose files
// are to go there.
func (r *Restorer) layered(ctx context.Context, c docker.Container, from source) (docker.Container, error) {
	if _, has := from.Part(metadata.PartRootFS); !has || c.UpperDir != "" || from.IsOf(c.ID) || r.Files == KeepFiles {
		return c, nil
	}
	return r.Docker.FindLayers(ctx, c)
}

// fills returns the trees that can be rolled back, and a search of all others. If
// nothing is to be rolled back, only those of a newer container count: it has no
// files yet.
func fills(from source, s changes.Search) ([]fill, changes.Search) {
	var list []fill
	rest := s
	rest.Places = nil
	for _, p := range s.Places {
		f, ok := fillOf(from.Record, p)
		switch {
		case !ok:
			rest.Places = append(rest.Places, p)
		case p.Foreign:
			list = append(list, f)
		}
	}
	return list, rest
}

// changed returns the trees in which something changed, and those of a newer
// container.
func changed(ctx context.Context, s changes.Search, from source, foreign []fill) ([]fill, error) {
	list := foreign
	for _, p := range s.Places {
		f, ok := fillOf(from.Record, p)
		if !ok || p.Foreign {
			continue
		}
		one := s
		one.Places = []changes.Place{p}
		found, err := one.Run(ctx)
		if err != nil {
			return nil, err
		}
		if found.Own.Total > 0 || found.Resized != nil || found.Missing != nil {
			list = append(list, f)
		}
	}
	return list, nil
}

// search returns also the places that it cannot look into.
func (r *Restorer) search(ctx context.Context, c docker.Container, from source) (changes.Search, []string, error) {
	volumes, err := r.Docker.Volumes(ctx, c.ID)
	if err != nil {
		return changes.Search{}, nil, err
	}
	used, err := criuimg.ReadInUse(criuimg.Dir(from.dir))
	if err != nil {
		return changes.Search{}, nil, from.Damaged(err.Error())
	}
	s := changes.Search{
		Since: from.FrozenAt, InUse: used.Files, Sizes: used.Sizes, Written: used.Written, Ghosts: used.Ghosts, RanOn: from.Options.LeaveRunning,
	}
	links, err := criuimg.ReadLinks(criuimg.Dir(from.dir))
	if err != nil {
		return changes.Search{}, nil, from.Damaged(err.Error())
	}
	for _, l := range links {
		s.Needed = append(s.Needed, l.Name)
	}
	var blind []string
	s.Places, blind = places(from.Record, c, volumes)
	for i := range s.Places {
		s.Places[i] = rolledBefore(from.Record, s.Places[i])
		_, fillable := fillOf(from.Record, s.Places[i])
		s.Places[i].Filled = fillable && s.Places[i].Foreign && r.Files != KeepFiles
	}
	// docker cp and docker export make a directory in the root and remove it again
	// (pivotRoot in moby's pkg/chrootarchive).
	s.Ghosts = append(s.Ghosts, criuPlace(s.Places), "/")
	for _, m := range from.Mounts {
		s.Mounts = append(s.Mounts, m.Path)
	}
	return s, blind, nil
}

// rolledBefore knows a place that an earlier restore made of this checkpoint: its
// files are newer than the checkpoint, and the same.
func rolledBefore(rec metadata.Record, p changes.Place) changes.Place {
	f, ok := fillOf(rec, p)
	if !ok {
		return p
	}
	if moment, ok := layer.Marked(p.Source, markOf(rec, f.part.Name)); ok {
		p.Since, p.Foreign, p.Remounted = moment, false, true
	}
	return p
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
		list = append(list, changes.Place{Path: "/", Source: upper, Layer: true, Lower: c.LowerDirs, Foreign: newer})
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
			}
			p.Remounted = !p.Foreign
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
