package docker

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/client"
	"github.com/gofrs/flock"
)

// stagePrefix begins the name of what a restore puts into Docker's directory.
const stagePrefix = "checkpointctl-"

// parentLink is CRIU's name for the images that others build on.
const parentLink = "parent"

// RestoreLog is the name runc gives to CRIU's log of a restore.
const RestoreLog = "restore.log"

// RestoreRequest asks Docker to start a stopped container from images.
type RestoreRequest struct {
	ContainerID string
	ImageDir    string // as checkpointctl keeps it
	Within      string // where its parents are, too
	// Bundle is where the container's OCI bundle was, or empty; CRIU's log
	// appears where the next one is.
	Bundle string
	// LinkAll gives Docker links for all images: none of them is to be written
	// to its disk.
	LinkAll bool
	// CRIUConfig are lines of a CRIU configuration file for this restore:
	// Docker has no words for them, see withRuncConf.
	CRIUConfig []string
	// LockNetwork is for a container with established connections in a network
	// namespace of its own, see earlyLock.
	LockNetwork bool
	// Waiting, if set, is called when the context ends while Docker restores, which
	// cannot be broken off.
	Waiting func()
}

// RestoreError is a start that Docker or CRIU refused, and the container is
// stopped, as before; or one in which Docker went away, and nobody knows.
type RestoreError struct {
	Err  error
	Log  []byte // of CRIU; nil when it did not come to that
	Hint string // where Docker's error does not say what to do
}

func (e *RestoreError) Error() string {
	if client.IsErrConnectionFailed(e.Err) {
		return fmt.Sprintf("Docker went away in the restore, the container may be running: %v", e.Err)
	}
	return fmt.Sprintf("restore failed, the container is stopped: %v", e.Err)
}
func (e *RestoreError) Unwrap() error { return e.Err }

// Restore starts the container from the images through Docker, so that Docker
// knows it as running, and returns CRIU's log. Docker takes checkpoints from
// its own directory only; nothing stays behind there. Docker would copy the
// pages twice, so it first gets links to them, and copies if that fails.
// Errors: ErrUnreachable, ErrNotSetUp, *RestoreError.
func (c *Client) Restore(ctx context.Context, req RestoreRequest) ([]byte, error) {
	d, err := c.Daemon(ctx)
	if err != nil {
		return nil, err
	}
	if !d.Experimental {
		return nil, fmt.Errorf("%w: the daemon's experimental setting is off", ErrNotSetUp)
	}
	dir := filepath.Join(d.RootDir, "containers", req.ContainerID, "checkpoints")
	var log []byte
	for _, place := range [...]placer{link, copyFile} {
		log, err = c.restoreFrom(ctx, dir, req, place)
		if err == nil || !pagesUnreachable(log) || ctx.Err() != nil || req.LinkAll || client.IsErrConnectionFailed(err) {
			break
		}
	}
	if err != nil {
		return log, &RestoreError{Err: err, Log: log, Hint: hint(err, d.Version)}
	}
	return log, nil
}

// hint explains what Docker's error does not.
func hint(err error, version string) string {
	switch {
	case client.IsErrConnectionFailed(err):
		return "when Docker answers again, look at docker ps; what is stopped can be restored again"
	// On cgroup v2 containerd's shim (1.7) crashes when the process is gone
	// before it looks for its cgroup.
	case strings.Contains(err.Error(), "ttrpc: closed"):
		return "the container may have been restored and have ended at once: see docker logs"
	case RestoreBroken(version):
		return "Docker " + version + " cannot restore a container with a network namespace of its own: use Docker 25, 26.1 or 27"
	}
	return ""
}

// pagesUnreachable says whether a restore failed in a way that full copies
// may mend: before CRIU ran, or when it opened the pages.
func pagesUnreachable(log []byte) bool {
	return len(log) == 0 || strings.Contains(string(log), "Can't open file pages-") ||
		strings.Contains(string(log), "Can't open pages-")
}

func (c *Client) restoreFrom(ctx context.Context, checkpoints string, req RestoreRequest, place placer) ([]byte, error) {
	name := stagePrefix + strings.ToLower(rand.Text()[:12])
	dir := filepath.Join(checkpoints, name)
	_, statErr := os.Stat(checkpoints)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	// Travels along with the images, and tells whose containerd's copy is. Its
	// lock says that this directory is in use.
	marker := filepath.Join(dir, name)
	if err := os.WriteFile(marker, []byte(dir), 0o600); err != nil {
		return nil, err
	}
	used := flock.New(marker)
	if err := used.Lock(); err != nil {
		return nil, err
	}
	defer func() {
		_ = os.RemoveAll(dir)
		_ = used.Unlock()
		removeLeaked(name)
		if errors.Is(statErr, os.ErrNotExist) {
			_ = os.Remove(checkpoints)
		}
	}()
	if err := stage(req, dir, place); err != nil {
		return nil, err
	}
	early := earlyLock{over: !req.LockNetwork}
	defer early.unlock()
	log := followLog(logDirs(req), early.see)
	start := func() error {
		// An interrupt must not leave the daemon half way: it would go on without us.
		if req.Waiting != nil {
			defer context.AfterFunc(ctx, req.Waiting)()
		}
		return c.api.ContainerStart(context.WithoutCancel(ctx), req.ContainerID, container.StartOptions{CheckpointID: name})
	}
	var err error
	if len(req.CRIUConfig) == 0 {
		err = start()
	} else {
		err = withRuncConf(req.CRIUConfig, start)
	}
	return log(), err
}

// removeLeaked removes containerd's unpacked copy of the images that hold the
// marker file: it leaves one behind in every restore, readable for nobody but
// root, yet for ever (https://github.com/containerd/containerd/issues/10166).
func removeLeaked(marker string) {
	for _, f := range leaked(marker) {
		_ = os.RemoveAll(filepath.Dir(f))
	}
}

// leaked lists the marker files, named by a pattern, in containerd's copies.
func leaked(marker string) []string {
	var found []string
	for _, tmp := range [...]string{"/tmp", os.TempDir(), "/run/user/0", os.Getenv("XDG_RUNTIME_DIR")} {
		list, _ := filepath.Glob(filepath.Join(tmp, "ctrd-checkpoint*", marker))
		found = append(found, list...)
	}
	slices.Sort(found)
	return slices.Compact(found)
}

// A placer makes the file or a stand-in for it.
type placer func(src, dst string) error

// stage fills dir with the images: pages by place, the rest copied. Those of
// the parent go below it, under the name of CRIU's link to them: Docker copies
// nothing that lies outside. A link that leads out of req.Within is refused.
func stage(req RestoreRequest, dir string, place placer) error {
	within, err := filepath.EvalSymlinks(req.Within)
	if err != nil {
		return err
	}
	small := copyFile
	if req.LinkAll {
		small = place
	}
	return stageChain(req.ImageDir, within, dir, placers{place, small}, maxChain)
}

// maxChain ends chains of parents that bite their tail.
const maxChain = 1000

// placers are for pages, and for all else.
type placers struct{ pages, small placer }

func stageChain(images, within, dir string, place placers, depth int) error {
	if depth == 0 {
		return fmt.Errorf("more than %d parents", maxChain)
	}
	if parent, err := filepath.EvalSymlinks(filepath.Join(images, parentLink)); err == nil {
		if !strings.HasPrefix(parent, within+"/") {
			return fmt.Errorf("%s of %s leads out of %s", parentLink, images, within)
		}
		below := filepath.Join(dir, parentLink)
		if err := os.Mkdir(below, 0o700); err != nil {
			return err
		}
		if err := stageChain(parent, within, below, place, depth-1); err != nil {
			return err
		}
	} else if !errors.Is(err, os.ErrNotExist) {
		return err
	}
	entries, err := os.ReadDir(images)
	if err != nil {
		return err
	}
	for _, e := range entries {
		put := place.small
		switch {
		case !e.Type().IsRegular():
			continue
		case strings.HasPrefix(e.Name(), "pages-"):
			put = place.pages
		case !strings.HasSuffix(e.Name(), ".img") && e.Name() != "descriptors.json":
			continue
		}
		if err := put(filepath.Join(images, e.Name()), filepath.Join(dir, e.Name())); err != nil {
			return err
		}
	}
	return nil
}

// link makes a symbolic link that climbs past the root before it goes down:
// Docker unpacks the images at a depth unknown here, and CRIU opens an
// absolute link inside the container's root.
func link(src, dst string) error {
	abs, err := filepath.EvalSymlinks(src)
	if err != nil {
		return err
	}
	if abs, err = filepath.Abs(abs); err != nil {
		return err
	}
	return os.Symlink(strings.Repeat("../", 24+strings.Count(dst, "/"))+strings.TrimPrefix(abs, "/"), dst)
}

func copyFile(src, dst string) error {
	in, err := os.Open(src)
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := os.OpenFile(dst, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	_, err = io.Copy(out, in)
	return errors.Join(err, out.Close())
}
