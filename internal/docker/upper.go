package docker

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/docker/docker/api/types/container"
	"github.com/moby/sys/mountinfo"

	"github.com/checkpointctl/checkpointctl/internal/runtime"
)

// layers are the directories of an overlay.
type layers struct {
	upper string
	lower []string
}

// readLayers returns the layers of a running container by its mount table: with
// containerd's image store Docker does not tell them. There are none if the root
// filesystem is no overlay.
func readLayers(pid int) layers {
	f, err := os.Open(filepath.Join("/proc", strconv.Itoa(pid), "mountinfo"))
	if err != nil {
		return layers{}
	}
	defer f.Close()
	return parseLayers(f, mountinfo.SingleEntryFilter("/"))
}

// parseLayers returns the layers of the first mount of a table that the filter takes.
func parseLayers(table io.Reader, filter mountinfo.FilterFunc) (l layers) {
	list, err := mountinfo.GetMountsFromReader(table, filter)
	if err != nil || len(list) == 0 || list[0].FSType != "overlay" {
		return l
	}
	for _, option := range strings.Split(list[0].VFSOptions, ",") {
		if dir, ok := strings.CutPrefix(option, "upperdir="); ok && filepath.IsAbs(dir) {
			l.upper = dir
		}
		for _, dir := range strings.Split(strings.TrimPrefix(option, "lowerdir="), ":") {
			if strings.HasPrefix(option, "lowerdir=") && filepath.IsAbs(dir) {
				l.lower = append(l.lower, dir)
			}
		}
	}
	return l
}

// ErrNoLayer is a container whose writable layer is not found.
var ErrNoLayer = errors.New("the writable layer is not found")

// FindLayers returns a container with its writable layer and those of its image, where an
// inspection does not tell them: with containerd's image store, for a container that does
// not run. Docker mounts it for the time of a copy into it, and that is asked for: of
// nothing, which ends when the mount was seen. ErrNoLayer if it is not an overlay.
func (c *Client) FindLayers(ctx context.Context, of Container) (Container, error) {
	dockerd, err := runtime.FindDockerd(c.Socket())
	if err != nil {
		return of, err
	}
	var l layers
	for range layersTries { // Docker refuses a copy into a --read-only container, but mounts it before
		if l, err = c.mounted(ctx, dockerd, of.ID); err == nil || ctx.Err() != nil {
			break
		}
	}
	if err != nil {
		return of, fmt.Errorf("container %s: %w", of.Name, err)
	}
	of.UpperDir, of.LowerDirs = l.upper, l.lower
	return of, nil
}

// mounted has Docker mount a container, and returns its layers when it is not mounted any
// more.
func (c *Client) mounted(ctx context.Context, dockerd int, id string) (layers, error) {
	empty, end := io.Pipe()
	over := make(chan error, 1)
	go func() {
		err := c.api.CopyToContainer(ctx, id, "/", empty, container.CopyToContainerOptions{})
		_ = empty.CloseWithError(io.ErrClosedPipe)
		over <- err
	}()
	defer func() { _ = end.Close() }()
	// The end of a tar are two blocks of zeros. Docker begins when the first one comes, and
	// has undone the mount when it answers.
	_, _ = end.Write(make([]byte, tarBlock))
	l, err := awaitLayers(ctx, dockerd, id, over)
	if err != nil {
		return l, err
	}
	_, _ = end.Write(make([]byte, tarBlock))
	_ = end.Close()
	select {
	case <-over: //nolint:errcheck // nothing was to be copied
	case <-ctx.Done():
		return l, ctx.Err()
	}
	return l, nil
}

// awaitLayers looks for the mount of a container in dockerd's table until the copy is over.
func awaitLayers(ctx context.Context, dockerd int, id string, over chan error) (layers, error) {
	ofContainer := func(m *mountinfo.Info) (skip, stop bool) {
		found := filepath.Base(m.Mountpoint) == id
		return !found, found
	}
	limit := time.After(layersWait)
	for {
		f, err := os.Open(filepath.Join("/proc", strconv.Itoa(dockerd), "mountinfo"))
		if err != nil {
			return layers{}, err
		}
		l := parseLayers(f, ofContainer)
		_ = f.Close()
		if l.upper != "" {
			return l, nil
		}
		select {
		case <-ctx.Done():
			return l, ctx.Err()
		case err := <-over:
			return l, errors.Join(ErrNoLayer, translate(id, err))
		case <-limit:
			return l, ErrNoLayer
		case <-time.After(time.Millisecond):
		}
	}
}

const (
	tarBlock    = 512
	layersTries = 3
)

// layersWait is how long Docker may take to mount a container.
const layersWait = 20 * time.Second
