package runtime

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/checkpointctl/checkpointctl/internal/linux"
)

// ErrUnfit is a Docker on whose containers `docker start` cannot be made to
// restore. The text says why.
var ErrUnfit = errors.New("docker cannot be made to restore here")

func unfit(format string, args ...any) error {
	return fmt.Errorf("%w: %s", ErrUnfit, fmt.Sprintf(format, args...))
}

// Containerd is the daemon whose shims start Docker's containers.
type Containerd struct {
	PID  int
	Path []string // directories in which a shim looks for runc
}

// defaultContainerd is where dockerd looks for a containerd that it did not
// start itself.
const defaultContainerd = "/run/containerd/containerd.sock"

// FindContainerd returns the containerd of the dockerd that listens on a unix
// socket. ErrUnfit if it cannot be known, or does not see the files that this
// process sees.
func FindContainerd(socket string) (Containerd, error) {
	dockerd, err := FindDockerd(socket)
	if err != nil {
		return Containerd{}, err
	}
	pid := 0
	for _, child := range Children(dockerd) {
		if linux.Command(child) == "containerd" {
			pid = child // started by dockerd
		}
	}
	if pid == 0 {
		address := containerdAddress(dockerd)
		if pid, err = listener(address); err != nil {
			return Containerd{}, unfit("no containerd at %s: %v", address, err)
		}
	}
	if theirs, ours := linux.NamespaceLink(pid, "mnt"), linux.NamespaceLink(os.Getpid(), "mnt"); theirs != ours {
		return Containerd{}, unfit("containerd (pid %d) has another mount namespace; run checkpointctl there, by nsenter -t %[1]d -m", pid)
	}
	env, err := os.ReadFile(fmt.Sprintf("/proc/%d/environ", pid))
	if err != nil {
		return Containerd{}, err
	}
	c := Containerd{PID: pid}
	for _, line := range strings.Split(string(env), "\x00") {
		if path, ok := strings.CutPrefix(line, "PATH="); ok {
			c.Path = filepath.SplitList(path)
		}
	}
	return c, nil
}

// containerdAddress is the socket that a dockerd is told to use.
func containerdAddress(dockerd int) string {
	var file struct{ Containerd string }
	if data, err := os.ReadFile(ConfigFile(dockerd)); err == nil {
		_ = json.Unmarshal(data, &file) // dockerd runs, so it is good
	}
	return cmp.Or(linux.Option(linux.Arguments(dockerd), "--containerd"), file.Containerd, defaultContainerd)
}

// ConfigFile is the path of a dockerd's configuration, which may not exist.
func ConfigFile(dockerd int) string {
	return cmp.Or(linux.Option(linux.Arguments(dockerd), "--config-file"), "/etc/docker/daemon.json")
}

// FindDockerd returns the pid of the daemon behind a socket. systemd may have
// made the socket: then it is the only dockerd there is.
func FindDockerd(socket string) (int, error) {
	pid, err := listener(socket)
	if err != nil {
		return 0, unfit("%s: %v", socket, err)
	}
	if linux.Command(pid) == "dockerd" {
		return pid, nil
	}
	var found []int
	for _, p := range linux.PIDs() {
		if linux.Command(p) == "dockerd" {
			found = append(found, p)
		}
	}
	if len(found) != 1 {
		return 0, unfit("which of %d dockerd listens on %s is not known", len(found), socket)
	}
	return found[0], nil
}

// listener returns who made a unix socket.
func listener(socket string) (int, error) {
	conn, err := net.Dial("unix", socket)
	if err != nil {
		return 0, err
	}
	defer conn.Close()
	raw, err := conn.(*net.UnixConn).SyscallConn()
	if err != nil {
		return 0, err
	}
	var cred *unix.Ucred
	if ctlErr := raw.Control(func(fd uintptr) { cred, err = unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED) }); ctlErr != nil {
		return 0, ctlErr
	}
	if err == nil && cred.Pid == 0 {
		err = errors.New("its process is in another pid namespace")
	}
	if err != nil {
		return 0, err
	}
	return int(cred.Pid), nil
}
