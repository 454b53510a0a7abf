package checkpoint

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/checkpointctl/checkpointctl/internal/docker"
	"github.com/checkpointctl/checkpointctl/internal/layer"
	"github.com/checkpointctl/checkpointctl/internal/linux"
	"github.com/checkpointctl/checkpointctl/internal/metadata"
	"github.com/checkpointctl/checkpointctl/internal/seal"
)

// AllVolumes in Files.Volumes stands for all that the container mounts.
const AllVolumes = "all"

// Files are those that a checkpoint takes with the memory.
type Files struct {
	RootFS bool // the container's writable layer
	// Asked says that the user asked for the layer: a container whose layer cannot
	// be taken is refused then, and else told of.
	Asked   bool
	Volumes []string // names, or AllVolumes
	Skip    []string // names of volumes
}

// tree is one of the trees of files to take.
type tree struct {
	part    metadata.Part
	source  string // on the host
	kind    layer.Kind
	seenBy  []view
	capture *layer.Capture
}

// view is a container that has a tree mounted.
type view struct {
	pid int
	at  string
}

// mapped are the files of the tree that programs have mapped shared and writable.
func (t *tree) mapped() []string {
	var list []string
	for _, v := range t.seenBy {
		list = append(list, layer.Below(v.at, linux.Mapped(linux.Sharing(v.pid, "pid")))...)
	}
	return list
}

// files are the trees of one checkpoint.
type files struct {
	trees   []*tree
	dir     string          // for copies, empty for none
	stage   *metadata.Stage // that it is in, if nothing may reach the disk
	updated time.Time
	written bool
	aside   chan error // of a finish that runs beside CRIU's dump
}

// trees returns what is to be taken, or a *docker.StateError for what is asked for
// and cannot be. The warnings are of what is left out.
func (m *Creator) trees(ctx context.Context, req Request) (list []*tree, warnings []string, err error) {
	c := req.Container
	if req.RoundsOnly {
		return nil, nil, nil
	}
	own := []view{{c.PID, "/"}}
	switch {
	case !req.Files.RootFS:
	case c.UpperDir != "":
		part := metadata.Part{Name: metadata.PartRootFS, File: "rootfs.tar", Destination: "/", Driver: c.Driver}
		list = append(list, &tree{part: part, source: c.UpperDir, kind: layer.Overlay, seenBy: own})
	case req.Files.Asked:
		return nil, nil, refuseFiles(c, "the storage driver "+c.Driver+" has no writable layer that can be taken", "--rootfs=false leaves it out")
	default:
		warnings = append(warnings, fmt.Sprintf("container %s: the checkpoint has no files: the storage driver %s has no writable layer that can be taken", c.Name, c.Driver))
	}
	if source := c.BindSources[shmPath]; strings.Contains(source, c.ID) {
		part := metadata.Part{Name: metadata.PartShm, File: ShmFile, Destination: shmPath}
		list = append(list, &tree{part: part, source: source, seenBy: []view{{c.PID, shmPath}}})
	}
	volumes, warned, err := m.volumes(ctx, req)
	return append(list, volumes...), append(warnings, warned...), err
}

const shmPath = "/dev/shm"

// ShmFile is the tar of what the container had in /dev/shm, which Docker empties
// when the container stops.
const ShmFile = "devshm.tar"

func refuseFiles(c docker.Container, is, hint string) error {
	return &docker.StateError{Name: c.Name, Is: "cannot be taken with its files: " + is, Hint: hint}
}

// volumes returns the trees of the volumes that were asked for.
func (m *Creator) volumes(ctx context.Context, req Request) (list []*tree, warnings []string, err error) {
	c, o := req.Container, req.Files
	if len(o.Volumes) == 0 || m.Volumes == nil {
		return nil, nil, nil
	}
	mounted, err := m.Volumes(ctx, c.ID)
	if err != nil {
		return nil, nil, err
	}
	all := slices.Contains(o.Volumes, AllVolumes)
	for _, name := range slices.Concat(o.Volumes, o.Skip) {
		known := slices.ContainsFunc(mounted, func(v docker.Volume) bool { return v.Name == name })
		if !known && !all && !slices.Contains(o.Skip, name) {
			return nil, nil, refuseFiles(c, "it mounts no volume "+name, "docker inspect shows its volumes")
		}
	}
	for _, v := range mounted {
		named := slices.Contains(o.Volumes, v.Name)
		taken := slices.ContainsFunc(list, func(t *tree) bool { return t.part.Volume == v.Name })
		if taken || slices.Contains(o.Skip, v.Name) || !named && !all {
			continue
		}
		if v.Away && !named {
			warnings = append(warnings, fmt.Sprintf("container %s: volume %s is not taken: it is mounted only while it is used", c.Name, v.Name))
			continue
		}
		if v.Away {
			return nil, nil, refuseFiles(c, "volume "+v.Name+" is mounted only while it is used, so it could not be rolled back", "--volume "+v.Name+"=skip leaves it out")
		}
		t := &tree{
			part:   metadata.Part{Name: metadata.PartVolume + v.Name, File: "volume-" + v.Name + ".tar", Destination: v.Destination, Volume: v.Name, Driver: v.Driver},
			source: v.Source, seenBy: []view{{c.PID, v.Destination}},
		}
		for _, other := range v.Running {
			peer := req.member.peer(other)
			if peer == nil {
				return nil, nil, refuseFiles(c, fmt.Sprintf("volume %s is mounted by %s, too, which runs", v.Name, other), "take both with --consistent, or leave it out: --volume "+v.Name+"=skip")
			}
			t.seenBy = append(t.seenBy, peer.views(v.Name)...)
			req.member.share(peer)
		}
		list = append(list, t)
	}
	return list, warnings, nil
}

// peer is the member of the same group of this name, nil if there is none.
func (m *member) peer(name string) *member {
	if m == nil {
		return nil
	}
	for _, p := range m.group.members {
		if p.req.Container.Name == name {
			return p
		}
	}
	return nil
}

// share notes that two members see each other's changes of files.
func (m *member) share(peer *member) {
	m.group.mu.Lock()
	defer m.group.mu.Unlock()
	m.shares, peer.shares = true, true
}

// views are where the member has a volume mounted.
func (m *member) views(volume string) (list []view) {
	for _, s := range m.req.Container.Settings.Mounts {
		if s.Name == volume {
			list = append(list, view{m.req.Container.PID, s.Destination})
		}
	}
	return list
}

// beginFiles copies the trees, and sees that the container is still the same: a
// pid may be another's when that took long.
func (m *Creator) beginFiles(ctx context.Context, j *job, req Request) error {
	began := time.Now()
	if err := j.files.begin(ctx, m, req, j.name); err != nil || time.Since(began) < 200*time.Millisecond {
		return err
	}
	return m.stillRuns(req.Container)(ctx)
}

// begin copies the trees while the container runs.
func (f *files) begin(ctx context.Context, m *Creator, req Request, name string) error {
	if len(f.trees) == 0 {
		return nil
	}
	need := int64(0)
	for _, t := range f.trees {
		size, err := layer.Size(ctx, t.source)
		if err != nil {
			return err
		}
		need += size
	}
	var err error
	if req.Seal != nil {
		if f.stage, err = metadata.NewStage(ctx, req.StageDir, need+stageReserve); err == nil {
			f.dir = f.stage.Dir
		}
	} else {
		f.dir, err = m.Store.Staging(req.Container.Name, name, need)
	}
	if err != nil {
		return fmt.Errorf("container %s: no room for a copy of its files (--rootfs=false leaves them out): %w", req.Container.Name, err)
	}
	for i, t := range f.trees {
		if t.capture, err = layer.New(t.source, t.kind, t.mapped, filepath.Join(f.dir, fmt.Sprint("part-", i))); err != nil {
			return err
		}
		if err := t.capture.Copy(ctx); err != nil {
			return err
		}
	}
	f.updated = time.Now()
	return nil
}

// update copies what changed since, if that is some time ago.
func (f *files) update(ctx context.Context) error {
	_ = f.drain() // of the try before this one
	if time.Since(f.updated) < 100*time.Millisecond {
		return nil
	}
	for _, t := range f.trees {
		if err := t.capture.Update(ctx); err != nil {
			return err
		}
	}
	return nil
}

// finishAside begins what wait does, while CRIU is at work on the frozen tasks.
func (f *files) finishAside(ctx context.Context) {
	done := make(chan error, 1)
	f.aside = done
	go func() { done <- f.finish(ctx) }()
}

// wait returns when the copies are what the files are.
func (f *files) wait(ctx context.Context) error {
	if f.aside == nil {
		return f.finish(ctx)
	}
	return f.drain()
}

// drain waits for what finishAside began; after a dump that failed, in vain.
func (f *files) drain() (err error) {
	if f.aside != nil {
		err, f.aside = <-f.aside, nil
	}
	return err
}

// finish copies what changed since. Nothing runs that could change a file.
func (f *files) finish(ctx context.Context) error {
	for _, t := range f.trees {
		if err := t.capture.Finish(ctx, t.mapped()); err != nil {
			return err
		}
	}
	return nil
}

// write makes the tars of the copies, encrypted if the images are. Once is enough.
func (f *files) write(ctx context.Context, dir string, s *seal.Sealer) error {
	if f.written {
		return nil
	}
	for _, t := range f.trees {
		out, err := create(filepath.Join(dir, t.part.File), s)
		if err != nil {
			return err
		}
		sum, err := t.capture.WriteTo(ctx, out)
		if closeErr := out.Close(); err == nil {
			err = closeErr
		}
		if err != nil {
			return err
		}
		p := &t.part
		p.Entries, p.SizeBytes, p.UID, p.GID, p.Mode = sum.Entries, sum.SizeBytes, sum.UID, sum.GID, fmt.Sprintf("%04o", sum.Mode)
	}
	f.written = true
	return f.remove()
}

func create(path string, s *seal.Sealer) (io.WriteCloser, error) {
	if s != nil {
		return s.Create(filepath.Base(path))
	}
	return os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
}

// parts are those of the record. Those of files are complete when they are
// written.
func (f *files) parts() []metadata.Part {
	list := []metadata.Part{{Name: metadata.PartCRIU}}
	for _, t := range f.trees {
		list = append(list, t.part)
	}
	return list
}

// remove removes the copies.
func (f *files) remove() (err error) {
	_ = f.drain()
	for _, t := range f.trees {
		if t.capture != nil {
			_ = t.capture.Remove()
			t.capture = nil
		}
	}
	switch {
	case f.stage != nil:
		err = f.stage.Remove()
	case f.dir != "":
		err = os.RemoveAll(f.dir)
	}
	f.stage, f.dir = nil, ""
	return err
}

// binds are the bind mounts that the user asked for. Their files are the host's.
func binds(c docker.Container) (list []metadata.Bind) {
	for _, s := range c.Settings.Mounts {
		if s.Type != "bind" {
			continue
		}
		b := metadata.Bind{Destination: s.Destination, Source: s.Source, Type: "other"}
		if info, err := os.Stat(s.Source); err == nil {
			b.UID, b.GID, b.Mode = metadata.Owner(info)
			switch {
			case info.IsDir():
				b.Type = "directory"
			case info.Mode().IsRegular():
				b.Type = "file"
			case info.Mode()&os.ModeSocket != 0:
				b.Type = "socket"
			}
		}
		list = append(list, b)
	}
	return list
}
