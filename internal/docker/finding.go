package docker

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/gofrs/flock"
)

// Finding is something that a killed restore left in Docker's directories or on
// the host.
type Finding struct {
	What    string
	Path    string
	Recover func(context.Context) error
}

// Findings lists what killed restores left: of one container, or of all for an
// empty ID. What belongs to a run still alive is not listed.
func (c *Client) Findings(ctx context.Context, id string) ([]Finding, error) {
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
	var list []Finding
	dead := map[string]bool{}
	for _, dir := range staged {
		owner := filepath.Base(filepath.Dir(filepath.Dir(dir)))
		if !abandoned(dir) || !c.settled(ctx, owner) {
			continue
		}
		dead[dir] = true
		list = append(list, Finding{What: "images staged for Docker", Path: dir, Recover: func(context.Context) error { return unstage(dir) }})
	}
	for _, marker := range leaked(stagePrefix + "*") {
		// It names the directory that the copy was made from, which lives as
		// long as the restore.
		from, err := os.ReadFile(marker)
		if err != nil || len(from) == 0 {
			continue
		}
		if _, err := os.Stat(string(from)); err == nil && !dead[string(from)] { //nolint:gosec // only looked for
			continue
		}
		dir := filepath.Dir(marker)
		list = append(list, Finding{What: "containerd's copy of images", Path: dir, Recover: func(context.Context) error { return os.RemoveAll(dir) }})
	}
	return append(list, inRuncConf()...), nil
}

// abandoned says whether no living run holds the lock on a staged directory. A
// run that has just made it may not have come to that.
func abandoned(dir string) bool {
	marker := filepath.Join(dir, filepath.Base(dir))
	info, err := os.Stat(marker)
	if err != nil || info.Size() == 0 {
		info, err = os.Stat(dir)
		return err == nil && time.Since(info.ModTime()) > time.Minute
	}
	l := flock.New(marker, flock.SetFlag(os.O_RDWR))
	ok, err := l.TryLock()
	if ok {
		_ = l.Unlock()
	}
	return ok && err == nil
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

// inRuncConf is our block in the host's CRIU configuration, when nobody
// needs it now.
func inRuncConf() []Finding {
	data, err := os.ReadFile(runcConf)
	if (err != nil || !strings.Contains(string(data), confBegin)) && len(torn(runcConf)) == 0 {
		return nil
	}
	l := flock.New(runcConfLock)
	if ok, err := l.TryLock(); !ok || err != nil {
		return nil
	}
	_ = l.Unlock()
	return []Finding{{What: "options of a restore", Path: runcConf, Recover: func(context.Context) error {
		if ok, err := l.TryLock(); !ok {
			return err // in use again, by one that will remove it
		}
		defer func() { _ = l.Unlock() }()
		removeTorn(runcConf)
		clean, absent, err := cleanConf()
		if err != nil {
			return err
		}
		return putConf(clean, absent)
	}}}
}
