package restore

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/checkpointctl/checkpointctl/internal/docker"
	"github.com/checkpointctl/checkpointctl/internal/layer"
	"github.com/checkpointctl/checkpointctl/internal/metadata"
)

// made is a container that was made, and what goes with it if it fails.
type made struct {
	docker.Container
	volumes []string // that were made for it
}

// make creates the container. After an error nothing is left.
func (m *Maker) make(ctx context.Context, d docker.Draft, from source) (made, error) {
	var made made
	for destination, name := range d.Volumes {
		has, err := m.Engine.HasVolume(ctx, name)
		if err != nil {
			return made, err
		}
		if _, filled := volumePart(from.Record, destination); !has || filled {
			made.volumes = append(made.volumes, name)
		}
	}
	// Docker makes it whether or not somebody waits.
	id, warnings, err := m.Engine.Create(context.WithoutCancel(ctx), d)
	made.ID, made.Name = id, d.Name
	if err != nil && id == "" {
		return made, err
	}
	if err == nil {
		for _, w := range warnings {
			m.warn("docker: " + w)
		}
		made.Container, err = m.Engine.Inspect(ctx, id)
	}
	if err != nil {
		made.ID, made.Name = id, d.Name
		return made, made.undo(ctx, m.Engine, err)
	}
	return made, nil
}

// undo removes what was made, and adds to the error if that fails.
func (m made) undo(ctx context.Context, engine maker, cause error) error {
	ctx = context.WithoutCancel(ctx)
	err := engine.Remove(ctx, m.ID)
	if errors.Is(err, docker.ErrNoSuchContainer) {
		err = nil // --rm
	}
	if err != nil {
		return errors.Join(cause, fmt.Errorf("container %s was made, and could not be removed: %w", m.Name, err))
	}
	for _, name := range m.volumes {
		if has, err := engine.HasVolume(ctx, name); err == nil && !has {
			continue
		}
		if err := engine.RemoveVolume(ctx, name); err != nil {
			cause = errors.Join(cause, fmt.Errorf("volume %s was made, and could not be removed: %w", name, err))
		}
	}
	return fmt.Errorf("%w; %s, which was made for it, is removed", cause, m.Name)
}

// fill puts the files of the checkpoint into the container's layer and volumes,
// which nobody uses yet.
func (m *Maker) fill(ctx context.Context, c made, from source) error {
	volumes, err := m.Engine.Volumes(ctx, c.ID)
	if err != nil {
		return err
	}
	for _, p := range from.Parts {
		dir, kind := "", layer.Plain
		switch {
		case p.Name == metadata.PartRootFS:
			dir, kind = c.UpperDir, layer.Overlay
			if dir == "" {
				return fmt.Errorf("%w: where the layer of %s lies is not known with the storage driver %s", ErrIncompatible, c.Name, c.Driver)
			}
		case p.Destination != "" && p.File != "" && p.Name != metadata.PartShm:
			for _, v := range volumes {
				if v.Destination == p.Destination && !v.Away {
					dir = v.Source
				}
			}
			if dir == "" {
				return fmt.Errorf("%w: %s has no volume at %s that can be filled", ErrIncompatible, c.Name, p.Destination)
			}
		default:
			continue
		}
		if err := fillTree(ctx, from, p, dir, kind); err != nil {
			return fmt.Errorf("%s of %s/%s: %w", p.Name, from.Name, from.Checkpoint, err)
		}
	}
	return nil
}

// fillTree makes a tree beside the one that is there, and lets them change places.
func fillTree(ctx context.Context, from source, p metadata.Part, dir string, kind layer.Kind) error {
	in, err := os.Open(filepath.Join(from.dir, p.File))
	if err != nil {
		return err
	}
	defer in.Close()
	info, err := in.Stat()
	if err != nil {
		return err
	}
	if !info.Mode().IsRegular() {
		return &fs.PathError{Op: "open", Path: p.File, Err: fs.ErrInvalid}
	}
	tree, err := layer.Beside(dir)
	if err == nil {
		_, err = layer.Extract(ctx, in, info.Size(), tree.Other, layer.Target{Kind: kind, SameImage: true})
	}
	if err == nil {
		err = tree.Swap()
	}
	return errors.Join(err, layer.Remove(tree.Other))
}
