package restore

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/checkpointctl/checkpointctl/internal/checkpoint"
	"github.com/checkpointctl/checkpointctl/internal/docker"
	"github.com/checkpointctl/checkpointctl/internal/linux"
	"github.com/checkpointctl/checkpointctl/internal/metadata"
)

type maker interface {
	Inspect(context.Context, string) (docker.Container, error)
	FindImage(ctx context.Context, layers []string, first ...string) (string, error)
	HasNetwork(ctx context.Context, name string) (bool, error)
	HasVolume(ctx context.Context, name string) (bool, error)
	Create(context.Context, docker.Draft) (id string, warnings []string, err error)
	Remove(ctx context.Context, id string) error
	RemoveVolume(ctx context.Context, name string) error
}

// Maker makes new containers from checkpoints.
type Maker struct {
	*Restorer
	Engine maker
}

// New is what a new container shall be.
type New struct {
	docker.Change // its Image, Foreign and Privileges are settled here
	Image         string
}

// CannotMakeError says why no container can be made from a checkpoint. Nothing was
// made.
type CannotMakeError struct {
	Checkpoint, Name string
	Reasons          []string
}

func (e *CannotMakeError) Error() string {
	return fmt.Sprintf("cannot make %s from %s: %s", e.Name, e.Checkpoint, strings.Join(e.Reasons, "; "))
}

// makeOne makes a container from what the checkpoint keeps of its own, fills its files
// and starts it. What stands against it is found before anything is made, as far as
// that can be known: a *CannotMakeError. After an error nothing that was made is
// left. The checkpoint must be locked.
func (m *Maker) makeOne(ctx context.Context, rec metadata.Record, n New, o Options) (c made, err error) {
	var p prepared
	defer func() { p.close() }()
	draft, err := m.draft(ctx, rec, n, &p)
	if err != nil {
		return c, err
	}
	if c, err = m.make(ctx, draft, p.from); err != nil {
		return c, err
	}
	defer func() { err = errors.Join(err, m.Store.ForgetMade(rec.Name)) }()
	if err = m.run(ctx, &c, &p, rec, o); err != nil {
		return c, c.undo(ctx, m.Engine, err)
	}
	return c, nil
}

// planNew returns what makeOne would make, or its refusal. Nothing is made.
func (m *Maker) planNew(ctx context.Context, rec metadata.Record, n New) (docker.Draft, error) {
	var p prepared
	defer func() { p.close() }()
	return m.draft(ctx, rec, n, &p)
}

// run gives the container that was made the checkpoint's files, and restores into
// it.
func (m *Maker) run(ctx context.Context, made *made, p *prepared, rec metadata.Record, o Options) (err error) {
	if p.plan, err = m.plan(ctx, made.Container, rec, o, nil); err != nil {
		return err
	}
	p.plan.decide(made.Container, p.from.Record, o)
	if err = addressesFit(made.Container, p.from, o); err != nil {
		return err
	}
	if err = m.resourcesFit(ctx, made.Container, p.from, o); err != nil {
		return err
	}
	if err = m.contained(ctx, made.Container, p.from); err != nil {
		return err
	}
	r := *m.Restorer
	if _, has := rec.Part(metadata.PartRootFS); has || r.Files != KeepFiles {
		r.Files = RollbackFiles // it is new: there is nothing else that could be meant
	}
	fills, err := r.files(ctx, made.Container, p.from)
	if err != nil {
		return err
	}
	files, err := r.rollBack(ctx, made.Container, p.from, fills)
	if err != nil {
		return err
	}
	if err = r.start(ctx, made.Container, p.plan, p.from); err != nil {
		return errors.Join(err, files.undo())
	}
	err = files.finish(context.WithoutCancel(ctx))
	if now, inspectErr := m.Engine.Inspect(context.WithoutCancel(ctx), made.ID); inspectErr == nil {
		made.Container = now
	}
	return err
}

// draft opens the checkpoint and settles the container, or refuses.
func (m *Maker) draft(ctx context.Context, rec metadata.Record, n New, p *prepared) (docker.Draft, error) {
	if err := hostFits(rec, linux.ThisHost()); err != nil {
		return docker.Draft{}, err
	}
	if err := m.verifyChain(ctx, rec); err != nil {
		return docker.Draft{}, err
	}
	if err := m.open(ctx, p, rec); err != nil {
		return docker.Draft{}, err
	}
	if err := hostFitsImages(p.from); err != nil {
		return docker.Draft{}, err
	}
	var from docker.Creation
	data, err := os.ReadFile(filepath.Join(p.from.dir, checkpoint.CreationFile))
	if errors.Is(err, os.ErrNotExist) {
		return docker.Draft{}, m.cannot(rec, n, "it is of an older version, which did not keep what its container was created with; make one by docker create, and restore --into")
	}
	if err == nil {
		err = json.Unmarshal(data, &from)
	}
	if err != nil {
		return docker.Draft{}, rec.Damaged(fmt.Sprintf("%s: %v", checkpoint.CreationFile, err))
	}
	change := n.Change
	change.Foreign, change.Privileges = rec.Imported != nil, m.AllowPrivileges
	first := []string{n.Image, rec.Image, rec.ImageDigest}
	if rec.Imported != nil {
		first = []string{n.Image, rec.ImageDigest} // no tag that an archive names
	}
	change.Image, err = m.Engine.FindImage(ctx, rec.ImageLayers, first...)
	if err != nil && !errors.Is(err, docker.ErrNoImage) {
		return docker.Draft{}, err
	}
	missing := err != nil
	d, err := from.Draft(rec.ID, change)
	if err != nil {
		return d, m.cannot(rec, n, err.Error())
	}
	if missing {
		d.Refused = append(d.Refused, fmt.Sprintf("no image on this host has the layers of %s (%s): docker load it", rec.Image, rec.ImageDigest))
	}
	if err := m.check(ctx, &d, rec); err != nil {
		return d, err
	}
	if d.Refused != nil {
		return d, m.cannot(rec, n, d.Refused...)
	}
	for _, left := range d.Left {
		m.warn(fmt.Sprintf("%s of the archive's container are left out: --accept %s includes them", left, left))
	}
	if rec.Imported != nil && m.AllowPrivileges && d.Privileges != nil {
		m.warn(fmt.Sprintf("%s gets privileges that the archive asks for: %s", n.Name, strings.Join(d.Privileges, ", ")))
	}
	return d, nil
}

func (m *Maker) cannot(rec metadata.Record, n New, reasons ...string) error {
	return &CannotMakeError{Checkpoint: rec.Name + "/" + rec.Checkpoint, Name: n.Name, Reasons: reasons}
}

// check adds what this host stands against.
func (m *Maker) check(ctx context.Context, d *docker.Draft, rec metadata.Record) error {
	if _, err := m.Engine.Inspect(ctx, d.Name); err == nil {
		d.Refused = append(d.Refused, "a container with that name exists: choose another --name")
	} else if !errors.Is(err, docker.ErrNoSuchContainer) {
		return err
	}
	for _, name := range d.Networks() {
		has, err := m.Engine.HasNetwork(ctx, name)
		if err != nil {
			return err
		}
		if !has {
			d.Refused = append(d.Refused, fmt.Sprintf("network %s does not exist on this host: --network NAME uses another one", name))
		}
	}
	for destination, name := range d.Volumes {
		has, err := m.Engine.HasVolume(ctx, name)
		if err != nil {
			return err
		}
		filled := hasVolume(rec, destination)
		switch {
		case has && filled:
			d.Refused = append(d.Refused, fmt.Sprintf("volume %s exists and would be overwritten: --volume %s=OTHER uses another one", name, name))
		case has && rec.Imported != nil && !d.Renamed[name]:
			d.Refused = append(d.Refused, fmt.Sprintf("volume %s exists, and an archive may not use it on its own: --volume %s=%s allows it", name, name, name))
		case !has && !filled:
			m.warn(fmt.Sprintf("volume %s will be created empty: the checkpoint does not include its files", name))
		}
	}
	daemon, err := m.Docker.Daemon(ctx)
	if err != nil {
		return err
	}
	switch _, has := rec.Part(metadata.PartRootFS); {
	case has && daemon.Driver != "overlay2" && daemon.Driver != containerdOverlay:
		d.Refused = append(d.Refused, fmt.Sprintf("Docker stores images by %s here, which has no layer that the checkpoint's files could be put into", daemon.Driver))
	case !has:
		m.warn(fmt.Sprintf("%s/%s does not include the files that its container wrote: the new container has only those of its image", rec.Name, rec.Checkpoint))
	}
	slices.Sort(d.Refused)
	return nil
}

// containerdOverlay is the driver of Docker with containerd's image store.
const containerdOverlay = "overlayfs"

// hasVolume says whether the checkpoint has the files of the volume at a destination.
func hasVolume(rec metadata.Record, destination string) bool {
	return slices.ContainsFunc(rec.Parts, func(p metadata.Part) bool {
		return strings.HasPrefix(p.Name, metadata.PartVolume) && p.Destination == destination
	})
}
