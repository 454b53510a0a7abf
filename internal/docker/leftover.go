package docker

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"

	"github.com/gofrs/flock"
)

// Leftover is something that a killed run left in Docker's directories, on
// the host or in a container.
type Leftover struct {
	What string
	Path string // empty when it is nothing in the filesystem
	Undo func(context.Context) error
}

// Leftovers lists what killed restores left: of one container, or of all for
// an empty ID. What belongs to a run still alive is not listed.
func (c *Client) Leftovers(ctx context.Context, id string) ([]Leftover, error) {
	d, err := c.Daemon(ctx)
	if err != nil {
		return nil, err
	}
	pattern := id
	if id == "" {
		pattern = "*"
	}
	staged, err := filepath.Glob(filepath.Join(d.RootDir, "containers", pattern, "checkpoints", stagePrefix+"*"))
	if err != nil {
		return nil, err
	}
	var list []Leftover
	dead := map[string]bool{}
	for _, dir := range staged {
		owner := filepath.Base(filepath.Dir(filepath.Dir(dir)))
		if !free(filepath.Join(dir, filepath.Base(dir))) || !c.settled(ctx, owner) {
			continue
		}
		dead[dir] = true
		list = append(list, Leftover{What: "images staged for Docker", Path: dir, Undo: func(context.Context) error { return unstage(dir) }})
	}
	for _, marker := range leaked(stagePrefix + "*") {
		// It names the directory that the copy was made from, which lives as
		// long as the restore.
		from, err := os.ReadFile(marker)
		if err != nil {
			continue
		}
		if _, err := os.Stat(string(from)); err == nil && !dead[string(from)] {
			continue
		}
		dir := filepath.Dir(marker)
		list = append(list, Leftover{What: "containerd's copy of images", Path: dir, Undo: func(context.Context) error { return os.RemoveAll(dir) }})
	}
	return append(list, confLeftover()...), nil
}

// free says whether no living run holds the lock on a staged directory.
func free(marker string) bool {
	l := flock.New(marker, flock.SetFlag(os.O_RDWR))
	ok, err := l.TryLock()
	if ok {
		_ = l.Unlock()
	}
	return ok || errors.Is(err, os.ErrNotExist)
}

// settled waits for a start that a killed run asked for: Docker answers about
// a container when it has started or failed to. It goes on without us.
func (c *Client) settled(ctx context.Context, id string) bool {
	_, err := c.inspect(ctx, id)
	return err == nil || errors.Is(err, ErrNoSuchContainer)
}

func unstage(dir string) error {
	err := os.RemoveAll(dir)
	_ = os.Remove(filepath.Dir(dir)) // unless the user has checkpoints there
	return err
}

// confLeftover is our block in the host's CRIU configuration, when nobody
// needs it now.
func confLeftover() []Leftover {
	data, err := os.ReadFile(runcConf)
	if err != nil || !strings.Contains(string(data), confBegin) {
		return nil
	}
	l := flock.New(runcConfLock)
	if ok, err := l.TryLock(); !ok || err != nil {
		return nil
	}
	_ = l.Unlock()
	return []Leftover{{What: "options of a restore", Path: runcConf, Undo: func(context.Context) error {
		if ok, err := l.TryLock(); !ok {
			return err // in use again, by one that will remove it
		}
		defer func() { _ = l.Unlock() }()
		clean, absent, err := cleanConf()
		if err != nil {
			return err
		}
		return putConf(clean, absent)
	}}}
}
