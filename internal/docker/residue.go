package docker

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// Leftover is something that a killed run left in a container.
type Leftover struct {
	What string
	Path string // empty when it is nothing in the filesystem
	Undo func(context.Context) error
}

// ErrBusy is a container that a CRIU works on, maybe that of a killed run.
var ErrBusy = errors.New("its tasks are traced: a CRIU is still at work, or a debugger")

// Residue lists what a CRIU that was killed left in a running container: its
// network lock, TCP sockets in repair mode, a frozen cgroup. While any CRIU is
// at work there, it is that one's: after some seconds of that, ErrBusy.
func (c *Client) Residue(ctx context.Context, id string) ([]Leftover, error) {
	now, err := c.Inspect(ctx, id)
	if err != nil || now.State != "running" || now.PID == 0 {
		return nil, err
	}
	if !quiet(ctx, now) {
		return nil, fmt.Errorf("container %s: %w", now.Name, ErrBusy)
	}
	var list []Leftover
	rules, err := networkLock(now.PID)
	if len(rules) > 0 {
		list = append(list, Leftover{What: "network lock", Undo: func(context.Context) error { return unlockNetwork(now.PID, rules) }})
	}
	if socks := inRepair(now.tasks()); len(socks) > 0 {
		list = append(list, Leftover{What: "TCP sockets in repair mode", Undo: func(context.Context) error { return endRepair(socks) }})
	}
	if f, ok := now.frozen(); ok {
		list = append(list, Leftover{What: "frozen cgroup", Path: f.file, Undo: func(ctx context.Context) error {
			// docker pause freezes too.
			if again, err := c.Inspect(ctx, id); err != nil || again.State != "running" {
				return err
			}
			return f.write(f.thaw)
		}})
	}
	return list, err
}

// quiet waits until no task in the container's pid or network namespace is
// traced, and no iptables runs there for a CRIU that is gone. False if that
// takes too long.
func quiet(ctx context.Context, c Container) bool {
	for range 100 {
		if !slices.ContainsFunc(c.tasks(), traced) && !helped(c.PID) {
			return true
		}
		select {
		case <-ctx.Done():
			return false
		case <-time.After(50 * time.Millisecond):
		}
	}
	return false
}

// tasks are the pids in the container's pid namespace.
func (c Container) tasks() []int {
	return sharing(c.PID, "pid")
}

// sharing lists the processes that have a namespace in common with one.
func sharing(pid int, kind string) []int {
	want := nsLink(pid, kind)
	if want == "" {
		return nil
	}
	var pids []int
	found, _ := filepath.Glob("/proc/[0-9]*/ns/" + kind)
	for _, path := range found {
		if link, err := os.Readlink(path); err == nil && link == want {
			n, _ := strconv.Atoi(strings.Split(path, "/")[2])
			pids = append(pids, n)
		}
	}
	return pids
}

// nsLink names the namespace of a process; empty when there is no such process.
func nsLink(pid int, kind string) string {
	link, _ := os.Readlink(fmt.Sprintf("/proc/%d/ns/%s", pid, kind))
	return link
}

func traced(pid int) bool {
	data, _ := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	for line := range strings.Lines(string(data)) {
		if by, ok := strings.CutPrefix(line, "TracerPid:"); ok {
			return strings.TrimSpace(by) != "0"
		}
	}
	return false
}

// helped says whether a task in the container's network namespace is traced,
// or changes its rules.
func helped(pid int) bool {
	return slices.ContainsFunc(sharing(pid, "net"), func(p int) bool {
		comm, _ := os.ReadFile(fmt.Sprintf("/proc/%d/comm", p))
		return strings.Contains(string(comm), "tables") || traced(p)
	})
}

// Freeze freezes the container's cgroup without Docker's knowing. Residue finds
// that.
func (c Container) Freeze() {
	if f, ok := c.freezer(); ok {
		_ = f.write(f.freeze)
	}
}

type freezer struct{ file, freeze, thaw string }

// freezer is of the container's own cgroup; there is none to touch without one.
func (c Container) freezer() (freezer, bool) {
	dir, err := c.FreezerCgroup()
	switch {
	case err != nil, c.ID == "", !strings.Contains(dir, c.ID):
		return freezer{}, false
	case c.CgroupMode == "v2":
		return freezer{filepath.Join(dir, "cgroup.freeze"), "1", "0"}, true
	default:
		return freezer{filepath.Join(dir, "freezer.state"), "FROZEN", "THAWED"}, true
	}
}

// write creates nothing: cgroups are often mounted on a tmpfs.
func (f freezer) write(state string) error {
	file, err := os.OpenFile(f.file, os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	_, err = file.WriteString(state)
	return errors.Join(err, file.Close())
}

// frozen returns what thaws the container's cgroup, if that is frozen.
func (c Container) frozen() (freezer, bool) {
	f, ok := c.freezer()
	if !ok {
		return f, false
	}
	data, err := os.ReadFile(f.file)
	return f, err == nil && strings.TrimSpace(string(data)) != f.thaw
}

// inRepair opens the TCP sockets of the tasks that CRIU switched to repair
// mode, in which the kernel neither sends nor takes packets. It needs Linux 5.6.
func inRepair(pids []int) []*os.File {
	var socks []*os.File
	seen := map[string]bool{}
	for _, pid := range pids {
		fd, err := unix.PidfdOpen(pid, 0)
		if err != nil {
			continue
		}
		links, _ := filepath.Glob(fmt.Sprintf("/proc/%d/fd/*", pid))
		for _, link := range links {
			target, err := os.Readlink(link)
			if err != nil || !strings.HasPrefix(target, "socket:") || seen[target] {
				continue
			}
			seen[target] = true
			n, _ := strconv.Atoi(filepath.Base(link))
			sock, err := unix.PidfdGetfd(fd, n, 0)
			if err != nil {
				continue
			}
			f := os.NewFile(uintptr(sock), target)
			if on, err := unix.GetsockoptInt(sock, unix.IPPROTO_TCP, unix.TCP_REPAIR); err == nil && on == 1 {
				socks = append(socks, f)
			} else {
				_ = f.Close()
			}
		}
		_ = unix.Close(fd)
	}
	return socks
}

func endRepair(socks []*os.File) error {
	var errs []error
	for _, f := range socks {
		errs = append(errs, unix.SetsockoptInt(int(f.Fd()), unix.IPPROTO_TCP, unix.TCP_REPAIR, unix.TCP_REPAIR_OFF), f.Close())
	}
	return errors.Join(errs...)
}
