// Package checkpoint makes checkpoints of containers and brings them back: it
// puts the dump, the record and Docker's restore in their order.
package checkpoint

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/checkpointctl/checkpointctl/internal/criu"
	"github.com/checkpointctl/checkpointctl/internal/docker"
	"github.com/checkpointctl/checkpointctl/internal/metadata"
	"github.com/checkpointctl/checkpointctl/internal/mounts"
)

type dumper interface {
	Version() (criu.Version, error)
	Dump(context.Context, criu.Request) (criu.Stats, error)
}

type engine interface {
	Inspect(context.Context, string) (docker.Container, error)
	Daemon(context.Context) (docker.Daemon, error)
}

// Creator makes checkpoints.
type Creator struct {
	Dumper  dumper
	Docker  engine
	Store   metadata.Store
	Policy  mounts.Policy
	Version string // of this program, for the record
}

// Request is one checkpoint to make.
type Request struct {
	Container docker.Container
	Name      string // empty: the next free one
	Options   criu.Options
}

// Create dumps a running container into the store. Everything that can be
// refused is refused before the container is touched. After an error the
// container runs on and the store lists nothing new; the log of a failed dump
// is kept (see metadata.Store.Log).
func (m *Creator) Create(ctx context.Context, req Request) (metadata.Record, error) {
	c := req.Container
	if err := ready(c, req.Options); err != nil {
		return metadata.Record{}, err
	}
	plan := m.Policy.Plan(c.Mounts, c.MountFacts)
	if err := plan.Refused(); err != nil {
		return metadata.Record{}, err
	}
	version, err := m.Dumper.Version()
	if err != nil {
		return metadata.Record{}, err
	}
	unlock, err := m.Store.Lock(c.Name)
	if err != nil {
		return metadata.Record{}, err
	}
	defer unlock()
	name, err := m.Store.Free(c.Name, req.Name)
	if err != nil {
		return metadata.Record{}, err
	}
	draft, err := m.Store.Begin(c.Name, name)
	if err != nil {
		return metadata.Record{}, err
	}
	stats, began, err := m.dump(ctx, draft, req, plan)
	if err != nil {
		_ = draft.Discard(criu.LogFile)
		return metadata.Record{}, err
	}
	if !req.Options.LeaveRunning {
		m.awaitStop(ctx, c.ID)
	}
	record := m.record(ctx, c, plan)
	record.Checkpoint, record.Versions.CRIU, record.Timestamp = name, version.String(), began
	record.Options, record.Stats = metadata.Options(req.Options), metadata.Stats(stats)
	err = publish(draft, &record)
	switch {
	case err == nil:
		return record, nil
	case req.Options.LeaveRunning:
		_ = draft.Discard(criu.LogFile)
		return metadata.Record{}, err
	default:
		// The container has ended: these images are all there is of it.
		return metadata.Record{}, fmt.Errorf("the container is stopped and its images are kept in %s: %w", draft.Keep(), err)
	}
}

// dump writes the images and returns when it began. The container runs again
// afterwards, or has been killed if that was asked for and all went well.
func (m *Creator) dump(ctx context.Context, draft *metadata.Draft, req Request, plan mounts.Plan) (criu.Stats, time.Time, error) {
	c := req.Container
	if err := writeDescriptors(draft.Dir, c.PID); err != nil {
		return criu.Stats{}, time.Time{}, err
	}
	ns, emptyNet := namespaces(c)
	r := criu.Request{
		PID: c.PID, Root: c.RootFS, ImageDir: draft.Dir, External: plan.External(),
		ExternalNS: ns, EmptyNetNS: emptyNet, Options: req.Options,
	}
	if !req.Options.LeaveRunning {
		// The last moment at which CRIU can still resume the container.
		r.PostDump = draft.Sync
	}
	began := time.Now().UTC()
	stats, err := m.Dumper.Dump(ctx, r)
	return stats, began, err
}

// record gathers what a reader and a restore need to know of the container
// and this host.
func (m *Creator) record(ctx context.Context, c docker.Container, plan mounts.Plan) metadata.Record {
	h := thisHost()
	r := metadata.Record{
		SchemaVersion: metadata.SchemaVersion, Container: Describe(c, plan),
		Architecture: h.architecture, CPUFeatures: h.cpuFeatures,
		Versions: metadata.Versions{Checkpointctl: m.Version, Kernel: h.kernel},
	}
	// Versions are for a reader: a daemon that does not answer costs them, not the checkpoint.
	if d, err := m.Docker.Daemon(ctx); err == nil {
		r.Versions.Docker, r.Versions.Runc = d.Version, d.Runc
	}
	return r
}

func publish(draft *metadata.Draft, r *metadata.Record) error {
	files, err := metadata.Hash(draft.Dir)
	if err != nil {
		return err
	}
	r.Files = files
	for _, f := range files {
		r.SizeBytes += f.SizeBytes
	}
	return draft.Publish(*r)
}

// ready refuses what cannot be dumped, or would not stay what the user means.
func ready(c docker.Container, o criu.Options) error {
	refuse := func(is, hint string) error { return &docker.StateError{Name: c.Name, Is: is, Hint: hint} }
	switch {
	case c.State == "paused":
		return refuse("is paused", "docker unpause "+c.Name)
	case c.State != "running" || c.PID == 0:
		return refuse("is "+c.State+", not running", "docker start "+c.Name)
	case c.PIDMode == "host":
		return refuse("shares the host's pid namespace, so its pids cannot be restored", "run it without --pid=host")
	case strings.HasPrefix(c.PIDMode, "container:"):
		return refuse("shares the pid namespace of "+c.PIDMode+", whose pids cannot be restored apart", "run it with a pid namespace of its own")
	case c.RootFS == "":
		return refuse("has no merged root filesystem: storage driver "+c.Driver+" is not supported", "use overlay2")
	case !o.LeaveRunning && c.AutoRemove:
		return refuse("was started with --rm: Docker would remove it when it stops", "keep it running (--leave-running), or start it without --rm")
	case !o.LeaveRunning && c.RestartPolicy != "" && c.RestartPolicy != "no":
		return refuse("has restart policy "+c.RestartPolicy+": Docker would start it afresh when it stops", "docker update --restart=no "+c.Name)
	}
	return nil
}

// namespaces returns those that belong to others, as CRIU's --external names
// them, and whether the network namespace is the container's own: then its
// devices are Docker's to make, and CRIU leaves them out.
func namespaces(c docker.Container) (external []string, emptyNet bool) {
	n := c.Namespace("net")
	switch {
	case strings.HasPrefix(c.NetworkMode, "container:"):
		return []string{fmt.Sprintf("net[%d]:extRootNetNS", n.Inode)}, false
	case n.SharedWith == "host":
		return nil, false
	default:
		return nil, true
	}
}

// writeDescriptors writes what runc restore reads to connect the container's
// stdio to the new pipes (libcontainer/criu_linux.go, descriptorsFilename).
func writeDescriptors(dir string, pid int) error {
	var links [3]string
	for fd := range links {
		link, err := os.Readlink(filepath.Join("/proc", strconv.Itoa(pid), "fd", strconv.Itoa(fd)))
		if err != nil {
			return err
		}
		links[fd] = link
	}
	data, err := json.Marshal(links)
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(dir, "descriptors.json"), data, 0o600)
}

// awaitStop gives Docker the time to see that the container has ended, so
// that a restore right after is not refused.
func (m *Creator) awaitStop(ctx context.Context, id string) {
	for range 500 {
		if c, err := m.Docker.Inspect(ctx, id); err == nil && c.State != "running" {
			return
		}
		time.Sleep(20 * time.Millisecond)
	}
}
