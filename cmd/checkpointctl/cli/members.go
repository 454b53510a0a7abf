package cli

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/checkpointctl/checkpointctl/internal/config"
	"github.com/checkpointctl/checkpointctl/internal/docker"
	"github.com/checkpointctl/checkpointctl/internal/metadata"
	"github.com/checkpointctl/checkpointctl/internal/restore"
)

// target is a container and a checkpoint as the user named them; an empty
// checkpoint is the newest.
type target struct{ container, checkpoint string }

// restoreTargets reads CONTAINER [CHECKPOINT], or several of CONTAINER and
// CONTAINER/CHECKPOINT. Two words are a container and its checkpoint, unless there
// is no such checkpoint, but a container of the store.
func (d *deps) restoreTargets(ctx context.Context, args []string) ([]target, error) {
	one := len(args) == 1
	if len(args) == 2 && !strings.Contains(args[0]+args[1], "/") {
		one = !d.isStored(args[1])
		if name, err := d.storedName(ctx, args[0]); err == nil && !one {
			_, err = d.store().Get(name, args[1])
			one = !errors.Is(err, metadata.ErrNoCheckpoint)
		}
	}
	if one {
		container, checkpoint, err := reference(args)
		return []target{{container, checkpoint}}, err
	}
	var list []target
	for _, arg := range args {
		container, checkpoint, err := reference([]string{arg})
		if err != nil {
			return nil, err
		}
		list = append(list, target{container, checkpoint})
	}
	return list, nil
}

func (d *deps) isStored(name string) bool { return slices.Contains(d.store().Containers(), name) }

// members asks Docker for the containers, recovers what killed runs left of them
// unless dryRun, and finds their checkpoints.
func (d *deps) members(ctx context.Context, client *docker.Client, targets []target, dryRun bool) ([]restore.Member, error) {
	var list []restore.Member
	for _, t := range targets {
		c, err := client.Inspect(ctx, t.container)
		if err != nil {
			return nil, err
		}
		if slices.ContainsFunc(list, func(m restore.Member) bool { return m.Container.ID == c.ID }) {
			return nil, fmt.Errorf("%w: container %s is named twice", config.ErrInvalid, c.Name)
		}
		if !dryRun {
			if err := d.beforeRestore(ctx, client, c, c.Name); err != nil {
				return nil, err
			}
		}
		rec, err := d.store().Find(c.Name, t.checkpoint)
		if err != nil {
			return nil, err
		}
		list = append(list, restore.Member{Container: c, Record: rec})
	}
	return list, nil
}

// groupTargets are all that a checkpoint was taken together with, itself
// included. It is named as any other, or by the ID of the group.
func (d *deps) groupTargets(ctx context.Context, t target) ([]target, error) {
	all, listErr := d.store().List("")
	group := func(id string) (list []target, members []string) {
		for _, r := range all {
			if r.Group != nil && r.Group.ID == id {
				list, members = append(list, target{r.Name, r.Checkpoint}), r.Group.Members
			}
		}
		return list, members
	}
	list, members := group(t.container)
	if list == nil {
		name, err := d.storedName(ctx, t.container)
		if err != nil {
			return nil, err
		}
		rec, err := d.store().Find(name, t.checkpoint)
		if err != nil {
			return nil, err
		}
		if rec.Group == nil {
			return nil, fmt.Errorf("%w: %s/%s does not belong to a group; checkpoint --consistent makes groups", config.ErrInvalid, rec.Name, rec.Checkpoint)
		}
		list, members = group(rec.Group.ID)
	}
	for _, name := range members {
		if !slices.ContainsFunc(list, func(t target) bool { return t.container == name }) {
			return nil, errors.Join(fmt.Errorf("%w: that of %s, of this group, is gone", metadata.ErrNoCheckpoint, name), listErr)
		}
	}
	return list, nil
}
