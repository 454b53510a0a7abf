package restore

import (
	"context"
	"fmt"
	"os"
	"path/filepath"

	"github.com/checkpointctl/checkpointctl/internal/docker"
	"github.com/checkpointctl/checkpointctl/internal/runtime"
)

// Route is how a start of a container comes to the stand-in for runc.
type Route struct {
	Runtime string // as Docker names it
	Runc    string // path of what the stand-in hands on to
	Link    string // to be made for the restore; empty when none is needed
	// CgroupDriver is Docker's: cgroupfs or systemd.
	CgroupDriver string
}

// Route finds the way for containers of a runtime. runtime.ErrUnfit says why
// there is none. Nothing is changed.
func (r *Restorer) Route(ctx context.Context, name string) (Route, error) {
	d, err := r.Docker.Daemon(ctx)
	if err != nil {
		return Route{}, err
	}
	no := func(format string, args ...any) (Route, error) {
		return Route{}, fmt.Errorf("%w: %s", runtime.ErrUnfit, fmt.Sprintf(format, args...))
	}
	if name == "" {
		name = d.DefaultRuntime
	}
	path, known := d.Runtimes[name]
	switch {
	case d.Rootless:
		return no("Docker runs rootless, and CRIU needs root")
	case d.UsernsRemap:
		return no("Docker runs with userns-remap, which CRIU cannot restore through runc")
	case r.Docker.Socket() == "":
		return no("Docker has no unix socket here")
	case !known:
		return no("Docker has no runtime %s any more", name)
	case r.isStandIn(path):
		return Route{Runtime: name, Runc: path, CgroupDriver: d.CgroupDriver}, nil
	case filepath.Base(path) != "runc" && path != runcShim:
		return no("runtime %s is %s; only runc restores a container so that Docker can connect its network", name, path)
	case filepath.IsAbs(path):
		return no("runtime %s is %s, which is not looked up; checkpointctl runtime install makes one for it", name, path)
	}
	containerd, err := runtime.FindContainerd(r.Docker.Socket())
	if err != nil {
		return Route{}, err
	}
	link, runc, err := containerd.Place(r.StandIn)
	return Route{Runtime: name, Runc: runc, Link: link, CgroupDriver: d.CgroupDriver}, err
}

// runcShim is what Docker calls its stock runtime since version 23.
const runcShim = "io.containerd.runc.v2"

func (r *Restorer) isStandIn(path string) bool {
	a, err := os.Stat(path)
	b, errB := os.Stat(r.StandIn)
	return err == nil && errB == nil && os.SameFile(a, b)
}

var _ engine = (*docker.Client)(nil)
