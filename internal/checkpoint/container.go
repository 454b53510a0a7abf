package checkpoint

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/checkpointctl/checkpointctl/internal/criu"
	"github.com/checkpointctl/checkpointctl/internal/docker"
)

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
		return refuse("was started with --rm: Docker removes it, with the files that it wrote, when it stops", "keep it running (--leave-running), or run it without --rm")
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
	case c.NetworkMode == "host", n.SharedWith == "host":
		return nil, false
	default:
		return nil, true
	}
}

// OwnsNetwork says whether the container's network namespace is its own.
func OwnsNetwork(c docker.Container) bool {
	_, own := namespaces(c)
	return own
}

// sharesIPC says whether the container's IPC namespace is another container's.
func sharesIPC(c docker.Container) bool { return strings.HasPrefix(c.Settings.IPCMode, "container:") }

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

// CreationFile holds what Docker created the container with. It is among the
// images, so that it is encrypted with them: environments have secrets in them.
const CreationFile = "docker.json"

func writeCreation(dir string, c docker.Creation) error {
	data, err := json.Marshal(c)
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(dir, CreationFile), append(data, '\n'), 0o600)
}

// SpecFile is the OCI configuration that Docker gave the runtime, as it is in the bundle:
// from it a container for another engine can be made.
const SpecFile = "config.json"

// keepSpec copies it. A bundle that is found nowhere has none.
func keepSpec(dir, bundle string) error {
	if bundle == "" {
		return nil
	}
	data, err := os.ReadFile(filepath.Join(bundle, SpecFile))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err == nil {
		err = os.WriteFile(filepath.Join(dir, SpecFile), data, 0o600)
	}
	return err
}
