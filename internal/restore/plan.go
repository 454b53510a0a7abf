package restore

import (
	"cmp"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/checkpointctl/checkpointctl/internal/checkpoint"
	"github.com/checkpointctl/checkpointctl/internal/docker"
	"github.com/checkpointctl/checkpointctl/internal/linux"
	"github.com/checkpointctl/checkpointctl/internal/linux/conntrack"
	"github.com/checkpointctl/checkpointctl/internal/metadata"
	"github.com/checkpointctl/checkpointctl/internal/mounts"
	"github.com/checkpointctl/checkpointctl/internal/runtime"
)

// Options are the user's.
type Options struct {
	TCPClose  bool // close established connections
	LazyPages bool // let the container run before its memory is there
}

// connectLimit is how long the restored tasks wait for Docker to connect the
// network, which takes it some 100 ms.
const connectLimit = 2 * time.Minute

// Plan is what a restore does.
type Plan struct {
	Container    string `json:"container"`
	ID           string `json:"id"`
	CheckpointOf string `json:"checkpoint_of"` // the container's name in the store
	Checkpoint   string `json:"checkpoint"`
	Encrypted    bool   `json:"encrypted"`
	Runc         string `json:"runc"`
	// Link is where the stand-in for runc is found during the restore; empty when
	// Docker knows it as a runtime.
	Link    string          `json:"link,omitempty"`
	Request runtime.Request `json:"restore"`
	// Differences are what the user should know of a container that is not the
	// checkpoint's.
	Differences []string `json:"differences,omitempty"`
	// RollBack are the places in the container whose files become the checkpoint's.
	RollBack []string `json:"roll_back,omitempty"`

	cgroupDriver string // see Route
}

// plan decides how the container would be restored, or returns why it cannot be.
// Docker runs programs to answer for the route: meanwhile, if it is set, is done at
// the same time. Nothing is touched. Errors: *docker.StateError, ErrIncompatible,
// ErrNotLazy, criu.ErrNoUserfaultfd, runtime.ErrUnfit, and meanwhile's.
func (r *Restorer) plan(ctx context.Context, c docker.Container, rec metadata.Record, o Options, meanwhile func() error) (Plan, error) {
	if !rec.IsOf(c.ID) && c.ImageDigest != rec.ImageDigest && r.sameLayers(ctx, c, rec) {
		c.ImageDigest = rec.ImageDigest
	}
	if err := fits(rec, c, linux.ThisHost()); err != nil {
		return Plan{}, err
	}
	wrong, said := compare(rec, c)
	if wrong != nil {
		return Plan{}, fmt.Errorf("%w: %s/%s is of another container than %s: %s", ErrIncompatible, rec.Name, rec.Checkpoint, c.Name, strings.Join(wrong, "; "))
	}
	var (
		route Route
		g     errgroup.Group
	)
	g.Go(func() (err error) {
		route, err = r.Route(ctx, c.Runtime)
		return err
	})
	var err error
	if meanwhile != nil {
		err = meanwhile()
	}
	if err := cmp.Or(g.Wait(), err); err != nil {
		return Plan{}, err
	}
	p := Plan{Container: c.Name, ID: c.ID, CheckpointOf: rec.Name, Checkpoint: rec.Checkpoint, Encrypted: rec.Encrypted, Runc: route.Runc, Link: route.Link, Differences: said, cgroupDriver: route.CgroupDriver}
	p.Request = runtime.Request{ImageDir: r.Store.Path(rec.Name, rec.Checkpoint), CRIU: r.CRIU, ManageCgroupsMode: "soft", Deadline: connectLimit}
	p.decide(c, rec, o)
	if !o.LazyPages {
		return p, nil
	}
	p.Request.LazyPages, err = r.lazyPages(ctx, c, rec)
	return p, err
}

// sameLayers says whether the files of a container's image are those of the
// checkpoint's: one image has several IDs in different stores.
func (r *Restorer) sameLayers(ctx context.Context, c docker.Container, rec metadata.Record) bool {
	layers, err := r.Docker.ImageLayers(ctx, c.ImageDigest)
	return err == nil && rec.ImageLayers != nil && slices.Equal(layers, rec.ImageLayers)
}

// decide sets what depends on what the images hold.
func (p *Plan) decide(c docker.Container, rec metadata.Record, o Options) {
	streams := rec.Options.TCPEstablished && checkpoint.HasTCP(rec)
	q := &p.Request
	q.TCPEstablished = streams && !o.TCPClose
	// Without it CRIU restores the file and silently leaves the lock out.
	q.FileLocks = rec.Options.FileLocks && hasLocks(rec)
	q.ExtUnixSk = rec.Options.ExtUnixSk
	q.HoldPackets = q.TCPEstablished && checkpoint.OwnsNetwork(c)
	q.CRIUConfig = criuConfig(rec, c, o)
	if checkpoint.OwnsNetwork(c) {
		q.Sysctls, q.InterfaceSysctls = rec.Sysctls, rec.InterfaceSysctls
	}
	if q.HoldPackets {
		for _, e := range rec.Connections {
			q.Connections = append(q.Connections, conntrack.Entry(e))
		}
	}
}

// criuConfig is what CRIU must know and runc cannot tell it.
func criuConfig(rec metadata.Record, c docker.Container, o Options) []string {
	var lines []string
	if o.TCPClose {
		lines = append(lines, "tcp-close")
	}
	if rec.Options.ShellJob {
		lines = append(lines, "shell-job")
	}
	for _, m := range rec.Mounts {
		if m.Action != string(mounts.External) || m.Source == "" {
			continue
		}
		source := sourceOf(m, rec, c)
		// CRIU binds the link itself where runc bound what it points to
		// (Debian's docker-init is one).
		info, err := os.Lstat(source)
		if err != nil || info.Mode()&os.ModeSymlink == 0 {
			continue
		}
		if target, err := filepath.EvalSymlinks(source); err == nil && !strings.ContainsAny(m.Key+target, " \t\n\"\\#") {
			lines = append(lines, fmt.Sprintf("external mnt[%s]:%s", m.Key, target))
		}
	}
	return lines
}

// hasLocks says whether the image of file locks holds more than its two
// 4-byte magics.
func hasLocks(rec metadata.Record) bool {
	return slices.ContainsFunc(rec.Files, func(f metadata.File) bool { return f.Name == "filelocks.img" && f.SizeBytes > 8 })
}

// stopped returns a *docker.StateError for a container that is not.
func stopped(c docker.Container) error {
	if c.State == "running" || c.State == "paused" || c.State == "restarting" {
		return &docker.StateError{Name: c.Name, Is: "is " + c.State + "; only a stopped one can be restored", Hint: "docker stop " + c.Name}
	}
	return nil
}

// fits returns a *docker.StateError, or ErrIncompatible with the reason.
func fits(rec metadata.Record, c docker.Container, h linux.Host) error {
	no := func(format string, args ...any) error {
		return fmt.Errorf("%w: %s/%s %s", ErrIncompatible, rec.Name, rec.Checkpoint, fmt.Sprintf(format, args...))
	}
	if rec.Kind == metadata.KindPreDump {
		return no("holds rounds of a pre-dump alone; checkpointctl checkpoint --parent %s would continue it", rec.Checkpoint)
	}
	if err := stopped(c); err != nil {
		return err
	}
	if !rec.IsOf(c.ID) && c.ImageDigest != rec.ImageDigest {
		return no("is of a container of image %s, this one is of %s", rec.ImageDigest, c.ImageDigest)
	}
	if gone := goneSources(rec, c); gone != nil {
		return no("needs %s mounted, which is gone", strings.Join(gone, ", "))
	}
	return hostFits(rec, h)
}

// hostFits returns ErrIncompatible with the reason why this host cannot take a
// checkpoint.
func hostFits(rec metadata.Record, h linux.Host) error {
	no := func(format string, args ...any) error {
		return fmt.Errorf("%w: %s/%s %s", ErrIncompatible, rec.Name, rec.Checkpoint, fmt.Sprintf(format, args...))
	}
	if rec.Architecture != h.Architecture {
		return no("is of architecture %s, this host is %s", rec.Architecture, h.Architecture)
	}
	if was, is := rec.CgroupMode, h.CgroupMode; was != "" && is != "" && (was == "v2") != (is == "v2") {
		return no("was made where containers have cgroups of %s, here they have those of %s", was, is)
	}
	var missing []string
	for _, f := range rec.CPUFeatures {
		if !slices.Contains(h.CPUFeatures, f) {
			missing = append(missing, f)
		}
	}
	if missing != nil {
		return no("was made on a CPU with %s, which this one lacks", strings.Join(missing, " "))
	}
	return nil
}

// goneSources are the host's files and directories that the container mounts
// and that are not there any more. Docker would put an empty directory in the
// place of one. Its own, below a directory named by the container's ID, it
// makes again.
func goneSources(rec metadata.Record, c docker.Container) []string {
	var gone []string
	check := func(source string) {
		if _, err := os.Stat(source); os.IsNotExist(err) {
			gone = append(gone, source)
		}
	}
	if !rec.IsOf(c.ID) {
		for _, m := range c.Settings.Mounts {
			if m.Type == "bind" {
				check(m.Source)
			}
		}
		return gone
	}
	for _, m := range rec.Mounts {
		if m.Source != "" && !strings.Contains(m.Source, rec.ID) {
			check(m.Source)
		}
	}
	return gone
}

// sourceOf is what the container has mounted where the checkpoint's had a bind
// mount: another one may have something else there.
func sourceOf(m metadata.Mount, rec metadata.Record, c docker.Container) string {
	if rec.IsOf(c.ID) {
		return m.Source
	}
	for _, s := range c.Settings.Mounts {
		if s.Destination == m.Path && s.Source != "" {
			return s.Source
		}
	}
	return m.Source
}
