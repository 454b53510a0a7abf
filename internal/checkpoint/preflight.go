package checkpoint

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/checkpointctl/checkpointctl/internal/criu"
	"github.com/checkpointctl/checkpointctl/internal/criuimg"
	"github.com/checkpointctl/checkpointctl/internal/docker"
	"github.com/checkpointctl/checkpointctl/internal/linux"
	"github.com/checkpointctl/checkpointctl/internal/linux/netns"
	"github.com/checkpointctl/checkpointctl/internal/linux/sockdiag"
	"github.com/checkpointctl/checkpointctl/internal/linux/tasks"
	"github.com/checkpointctl/checkpointctl/internal/mounts"
	"github.com/checkpointctl/checkpointctl/internal/preflight"
)

// Facts gathers what the rules of preflight look at, from a running container and
// what is planned for its mounts. It needs root.
func Facts(c docker.Container, plan mounts.Plan) (f preflight.Facts, err error) {
	f.Plan, f.SharedIPC = plan, sharedIPC(c)
	f.Confined = !linux.Capable(unix.CAP_SYS_RESOURCE)
	if f.Tasks, err = tasks.Tree(c.PID); err != nil {
		return f, err
	}
	if preflight.ManyPipes(f.Tasks) {
		tasks.MarkReadable(f.Tasks)
	}
	f.Beside = beside(c, f.Tasks)
	f.InImage = inImage(c, f.Tasks)
	f.Watched, f.Lost = watched(c.PID, f.Tasks)
	if slices.ContainsFunc(plan.Items, func(i mounts.Item) bool { return i.Mount.Shared != 0 }) {
		f.HostGroups = hostGroups(c.PID)
	}
	if f.LongMounts, err = longMounts(c.PID); err != nil {
		return f, err
	}
	return f, sockets(&f, c.PID)
}

// sharedIPC is whose IPC namespace the container has; empty for its own.
func sharedIPC(c docker.Container) string {
	if of, ok := strings.CutPrefix(c.Settings.IPCMode, "container:"); ok {
		return of[:min(len(of), 12)]
	}
	if c.Settings.IPCMode == "host" || c.Namespace("ipc").SharedWith == "host" {
		return "host"
	}
	return ""
}

// sockets looks at those of the tasks. A container without any costs nothing.
func sockets(f *preflight.Facts, pid int) (err error) {
	own := map[uint64]bool{}
	for _, t := range f.Tasks {
		for _, file := range t.Files {
			if inode := file.Socket(); inode != 0 {
				own[inode] = true
			}
		}
	}
	if len(own) == 0 {
		return nil
	}
	ns := netns.Of(pid)
	if f.MPTCP, err = sockdiag.MPTCP(ns); err != nil {
		return err
	}
	if f.LinkLocal, err = sockdiag.LinkLocal(ns); err != nil {
		return err
	}
	list, err := sockdiag.UnixSockets(ns)
	if err != nil {
		return err
	}
	f.Outside = outside(own, list, pid)
	return nil
}

// outside are the unix sockets among own that are connected to those of other
// processes. An end that no process holds is on its way to one.
func outside(own map[uint64]bool, list map[uint64]sockdiag.Unix, pid int) map[uint64]preflight.Outside {
	peers := map[uint64]bool{}
	for inode := range own {
		if peer := list[inode].Peer; peer != 0 && !own[peer] {
			peers[peer] = true
		}
	}
	if len(peers) == 0 {
		return nil
	}
	found := map[uint64]preflight.Outside{}
	holders := tasks.Holders(peers)
	for inode := range own {
		u := list[inode]
		holder, ok := holders[u.Peer]
		if u.Peer == 0 || !ok {
			continue
		}
		peer, near := list[u.Peer]
		found[inode] = preflight.Outside{
			PID: holder.PID, Name: holder.Name, Stream: u.Stream, Path: peer.Name, Near: near, There: near && hasSocket(pid, peer.Name),
		}
	}
	return found
}

// hasSocket says whether a process finds a unix socket by a name.
func hasSocket(pid int, name string) bool {
	if strings.HasPrefix(name, "\x00") {
		return true // it is the network namespace's
	}
	if !filepath.IsAbs(name) {
		return false
	}
	root, err := os.Open(fmt.Sprintf("/proc/%d/root", pid))
	if err != nil {
		return false
	}
	defer root.Close()
	fd, err := unix.Openat2(int(root.Fd()), name, &unix.OpenHow{Flags: unix.O_PATH | unix.O_CLOEXEC, Resolve: unix.RESOLVE_IN_ROOT})
	if err != nil {
		return false
	}
	defer unix.Close(fd)
	var st unix.Stat_t
	return unix.Fstat(fd, &st) == nil && st.Mode&unix.S_IFMT == unix.S_IFSOCK
}

// settled is how old a process is that is worth a word: docker exec is often used
// for a moment.
const settled = 2 * time.Second

// beside are the container's processes that do not descend from its first one,
// without health checks, which Docker starts by docker exec, too.
func beside(c docker.Container, tree []tasks.Task) (list []preflight.Beside) {
	f, err := c.Freezer()
	if err != nil {
		return nil
	}
	pids, _ := f.Tasks()
	if len(pids) <= len(tree) {
		return nil
	}
	for _, pid := range pids {
		known := slices.ContainsFunc(tree, func(t tasks.Task) bool { return t.PID == pid })
		if !known && linux.Age(pid) > settled && !checksHealth(c, pid) {
			list = append(list, preflight.Beside{PID: pid, Name: linux.Command(pid)})
		}
	}
	return list
}

// checksHealth says whether a process is the container's health check, or was
// started by it.
func checksHealth(c docker.Container, pid int) bool {
	if len(c.HealthCheck) < 2 {
		return false
	}
	for range 4 { // a shell, what it runs, and what that runs
		args := linux.Arguments(pid)
		if c.HealthCheck[0] == "CMD-SHELL" && (args[len(args)-1] == c.HealthCheck[1] || slices.Equal(args, strings.Fields(c.HealthCheck[1]))) ||
			slices.Equal(args, c.HealthCheck[1:]) {
			return true
		}
		pid = linux.Parent(pid)
	}
	return false
}

// inImage looks for the files that were removed in the layers of the image.
func inImage(c docker.Container, tree []tasks.Task) map[string]uint64 {
	found := map[string]uint64{}
	look := func(name string, u *tasks.Unlinked) {
		if u == nil || u.Links != 1 {
			return
		}
		for _, layer := range c.LowerDirs {
			var st unix.Stat_t
			if unix.Lstat(filepath.Join(layer, name), &st) == nil && st.Ino == u.Inode && st.Nlink == 1 {
				found[name] = st.Ino
				return
			}
		}
	}
	for _, t := range tree {
		for _, file := range t.Files {
			look(file.Path(), file.Unlinked)
		}
		for _, m := range t.Maps {
			look(m.Path, m.Unlinked)
		}
	}
	return found
}

// overlayMagic is that of overlayfs, see statfs(2).
const overlayMagic = 0x794c7630

// searchLimit is for the search of watched files.
const searchLimit = 3 * time.Second

// watched finds the paths of watched files on the container's root, if that is
// overlayfs, which opens none by the handle that the kernel tells. CRIU would look
// for them while the container is frozen, in a few places only.
func watched(pid int, tree []tasks.Task) (paths map[tasks.Watch]string, lost map[tasks.Watch]bool) {
	var root unix.Statfs_t
	var st unix.Stat_t
	name := fmt.Sprintf("/proc/%d/root", pid)
	if unix.Statfs(name, &root) != nil || root.Type != overlayMagic || unix.Stat(name, &st) != nil {
		return nil, nil
	}
	var wanted []tasks.Watch
	for _, t := range tree {
		for _, file := range t.Files {
			for _, w := range file.Watches {
				if w.Dev == st.Dev {
					wanted = append(wanted, w)
				}
			}
		}
	}
	if wanted == nil {
		return nil, nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), searchLimit)
	defer cancel()
	paths, complete := tasks.Find(ctx, pid, wanted)
	lost = map[tasks.Watch]bool{}
	for _, w := range wanted {
		lost[w] = complete && paths[w] == ""
	}
	return paths, lost
}

// longMounts are the mounts of lines that are too long for CRIU.
func longMounts(pid int) (list []string, err error) {
	f, err := os.Open(fmt.Sprintf("/proc/%d/mountinfo", pid))
	if err != nil {
		return nil, err
	}
	defer f.Close()
	r := bufio.NewReader(f)
	for {
		line, err := r.ReadString('\n')
		if fields := strings.Fields(line); len(line) > preflight.MaxMountLine && len(fields) > 4 {
			list = append(list, fields[4])
		}
		if err == io.EOF {
			return list, nil
		}
		if err != nil {
			return nil, err
		}
	}
}

// hostGroups are the peer groups of the mounts that the container's parent,
// containerd's shim, sees.
func hostGroups(pid int) map[int]bool {
	f, err := os.Open(fmt.Sprintf("/proc/%d/mountinfo", linux.Parent(pid)))
	if err != nil {
		return nil
	}
	defer f.Close()
	list, _ := mounts.Parse(f)
	groups := map[int]bool{}
	for _, m := range list {
		if m.Shared != 0 {
			groups[m.Shared] = true
		}
	}
	return groups
}

// preflight returns a *preflight.RefusedError if a rule stands against the
// checkpoint. Else it adds to the request what the container needs besides. It comes
// after the recovery, which ends a CRIU that a killed run left: that one would be
// a tracer.
func (m *Creator) preflight(req *Request, plan mounts.Plan) error {
	if m.Facts == nil {
		return nil
	}
	c, o := req.Container, &req.Options
	facts, err := m.Facts(c, plan)
	if err != nil {
		return fmt.Errorf("container %s: %w", c.Name, err)
	}
	if list := preflight.Check(facts, Rules(*o)); list != nil {
		return &preflight.RefusedError{Container: c.Name, Refusals: list}
	}
	adapted, notes := preflight.Adapt(facts, Rules(*o))
	o.LinkRemap, o.GhostLimit, req.watched = adapted.LinkRemap, adapted.GhostLimit, facts.Paths()
	for _, text := range append(notes, preflight.Notes(facts)...) {
		m.warn([]string{fmt.Sprintf("container %s: %s", c.Name, text)})
	}
	return nil
}

// noLinks refuses images that need a name which CRIU takes away at the end of a
// dump after which the container runs on. The rules of preflight may have missed
// the file: it was opened, or removed, later.
func noLinks(images string, plan mounts.Plan) error {
	links, err := criuimg.ReadLinks(criuimg.Dir(images))
	for _, l := range links {
		if !preflight.InImages(plan, l.Name) {
			return fmt.Errorf("the name of %s, which is open, was removed meanwhile, and the file has another one: no restore would find it", l.Path)
		}
	}
	return err
}

// Rules are the options that the rules of preflight depend on.
func Rules(o criu.Options) preflight.Options {
	return preflight.Options{
		LeaveRunning: o.LeaveRunning, TCPEstablished: o.TCPEstablished, ExtUnixSk: o.ExtUnixSk, LinkRemap: o.LinkRemap, GhostLimit: o.GhostLimit,
	}
}
