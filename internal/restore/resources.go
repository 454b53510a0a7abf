package restore

import (
	"context"
	"fmt"
	"net/netip"
	"strings"

	"github.com/docker/go-units"
	"golang.org/x/sys/unix"

	"github.com/checkpointctl/checkpointctl/internal/criuimg"
	"github.com/checkpointctl/checkpointctl/internal/docker"
	"github.com/checkpointctl/checkpointctl/internal/linux/netns"
	"github.com/checkpointctl/checkpointctl/internal/linux/sockdiag"
	"github.com/checkpointctl/checkpointctl/internal/linux/tasks"
)

// resourcesFit returns ErrIncompatible if the container's memory limit is too low
// for what the images hold, or a port that they have is taken in the network
// namespace that the container shares.
func (r *Restorer) resourcesFit(ctx context.Context, c docker.Container, from source, o Options) error {
	name := from.Name + "/" + from.Checkpoint
	if limit := memoryLimit(c.Settings); limit > 0 {
		need, err := criuimg.LeastMemory(criuimg.Dir(from.dir))
		if err != nil {
			return from.Damaged(err.Error())
		}
		if need > limit {
			return fmt.Errorf("%w: %s has %s of memory, but container %s may have %s (docker update --memory)",
				ErrIncompatible, name, units.BytesSize(float64(need)), c.Name, units.BytesSize(float64(limit)))
		}
	}
	ns, shares, err := r.sharedNetNS(ctx, c)
	if err != nil || !shares {
		return err
	}
	wanted, err := criuimg.ReadInet(criuimg.Dir(from.dir))
	if err != nil {
		return from.Damaged(err.Error())
	}
	for _, protocol := range [...]uint32{unix.IPPROTO_TCP, unix.IPPROTO_UDP} {
		have, err := sockdiag.InetSockets(ns, protocol)
		if err != nil {
			return err
		}
		for _, w := range wanted {
			if w.UDP == (protocol == unix.IPPROTO_UDP) {
				if why := taken(w, have, o.TCPClose); why != "" {
					return fmt.Errorf("%w: %s %s", ErrIncompatible, name, why)
				}
			}
		}
	}
	return nil
}

// memoryLimit counts swap space if Docker does not limit it as well; 0 is none.
func memoryLimit(s docker.Settings) int64 {
	var host unix.Sysinfo_t
	if unix.Sysinfo(&host) == nil && host.Totalswap > 0 {
		return s.MemoryAndSwapLimit
	}
	return s.MemoryLimit
}

// sharedNetNS returns the network namespace that is there before the container
// starts, and whether there is one.
func (r *Restorer) sharedNetNS(ctx context.Context, c docker.Container) (path string, shares bool, err error) {
	if c.NetworkMode == "host" {
		return "", true, nil
	}
	id, ok := strings.CutPrefix(c.NetworkMode, "container:")
	if !ok {
		return "", false, nil
	}
	owner, err := r.Docker.Inspect(ctx, id)
	if err != nil || owner.PID == 0 {
		return "", false, err // of a group, it starts first
	}
	return netns.Of(owner.PID), true, nil
}

// taken says what keeps a socket from being bound again; empty for nothing.
func taken(w criuimg.Inet, have []sockdiag.Inet, tcpClose bool) string {
	for _, h := range have {
		same := w.Local.Port() == h.Local.Port()
		switch {
		case !same, w.Reuse:
		case (w.Listens && h.Listens || w.UDP) && overlap(w.Local.Addr(), h.Local.Addr()):
			by := "another process"
			if t, ok := tasks.Holders(map[uint64]bool{h.Inode: true})[h.Inode]; ok {
				by = fmt.Sprintf("process %d (%s)", t.PID, t.Name)
			}
			return fmt.Sprintf("needs the port %d, which %s has", w.Local.Port(), by)
		case !w.UDP && !w.Listens && !tcpClose && w.Remote.Port() != 0 && w.Local == h.Local && w.Remote == h.Remote:
			return fmt.Sprintf("has the TCP connection %s - %s, which this host has still: wait a minute, or restore with --tcp-close", w.Local, w.Remote)
		}
	}
	return ""
}

// overlap says whether two sockets of one port are in each other's way.
func overlap(a, b netip.Addr) bool {
	return a == b || a.IsUnspecified() && (a.Is6() || b.Is4()) || b.IsUnspecified() && (b.Is6() || a.Is4())
}
