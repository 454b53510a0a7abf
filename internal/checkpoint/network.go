package checkpoint

import (
	"context"
	"fmt"
	"net/netip"
	"os"
	"slices"
	"time"

	"github.com/checkpointctl/checkpointctl/internal/docker"
	"github.com/checkpointctl/checkpointctl/internal/linux"
	"github.com/checkpointctl/checkpointctl/internal/linux/conntrack"
	"github.com/checkpointctl/checkpointctl/internal/linux/dockerproxy"
	"github.com/checkpointctl/checkpointctl/internal/linux/hold"
	"github.com/checkpointctl/checkpointctl/internal/linux/netns"
	"github.com/checkpointctl/checkpointctl/internal/linux/sysctl"
	"github.com/checkpointctl/checkpointctl/internal/metadata"
)

// network is what a restore needs to know of a container's own network, which
// Docker makes anew: CRIU's images do not have it.
type network struct {
	sysctls, interfaceSysctls sysctl.Settings
	connections               []conntrack.Entry
	proxied                   []dockerproxy.Connection
}

// into completes a record by what is known so far.
func (n *network) into(r *metadata.Record) {
	r.Sysctls, r.InterfaceSysctls = n.sysctls, n.interfaceSysctls
	r.Connections, r.ProxiedConnections = nil, nil
	for _, e := range n.connections {
		r.Connections = append(r.Connections, metadata.Connection(e))
	}
	for _, c := range n.proxied {
		r.ProxiedConnections = append(r.ProxiedConnections, metadata.ProxiedConnection(c))
	}
}

// readSysctls is for right before the freeze: the rounds may take long.
func (n *network) readSysctls(from *sysctl.Reader, c docker.Container) (err error) {
	if _, own := namespaces(c); own {
		n.sysctls, n.interfaceSysctls, err = from.Changed(c.PID)
	}
	if err != nil {
		return fmt.Errorf("container %s: %w", c.Name, err)
	}
	return nil
}

// readConnections is for after the dump, so that no connection is missed that is
// in the images: one made between reading and the freeze would be. A connection's
// entry outlives the thaw, unless it is closed: then nobody waits for its restore.
// Entries of later connections do no harm. What cannot be read is returned as a
// warning: the checkpoint is good without it. streams says that the images have TCP
// connections: without them, and without UDP, there is nothing to look for, which takes
// the kernel milliseconds.
func (n *network) readConnections(c docker.Container, streams bool) (warnings []string) {
	addresses := addressesOf(c)
	if _, own := namespaces(c); !own || len(addresses) == 0 || !streams && !linux.HasUDP(c.PID) {
		return nil
	}
	found, err := conntrack.List(DaemonNetNS(c.PID), addresses)
	if err != nil {
		warnings = append(warnings, fmt.Sprintf("container %s: a restore cannot keep the connections through published ports: %v", c.Name, err))
	}
	n.proxied, err = dockerproxy.Connections(addresses)
	if err != nil {
		warnings = append(warnings, fmt.Sprintf("container %s: looking for connections through docker-proxy: %v", c.Name, err))
	}
	if k := len(n.proxied); k > 0 {
		warnings = append(warnings, fmt.Sprintf("container %s: %s through docker-proxy, which a restore cannot keep: docker-proxy serves clients on the host itself", c.Name, count(k, "connection goes", "connections go")))
	}
	n.connections = slices.DeleteFunc(found, func(e conntrack.Entry) bool {
		return slices.Contains(n.proxied, dockerproxy.Connection{Peer: e.Source, Address: e.Destination})
	})
	return warnings
}

func (m *Creator) isConnected(c docker.Container) bool {
	if m.connected != nil {
		return m.connected(c)
	}
	return linux.Connected(c.PID)
}

func count(n int, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprint(n, " ", many)
}

// holdLimit is how long clients are held for a container that does not come back:
// after so long they get the reset that they would have got at once. TCP gives up
// after some 15 minutes.
const holdLimit = 10 * time.Minute

// hold drops what the other ends of translated connections send from now on, while
// the container is away: the host itself would answer with a reset. The restore
// ends that, or the limit.
func (n *network) hold(c docker.Container) (warnings []string) {
	addresses := addressesOf(c)
	var flows []hold.Flow
	for _, e := range n.connections {
		if e.Translated() {
			from, to := e.Incoming(addresses)
			flows = append(flows, hold.Flow{Protocol: e.Protocol, Source: from, Destination: to})
		}
	}
	if flows == nil {
		return nil
	}
	if err := hold.Hold(DaemonNetNS(c.PID), c.ID, flows, holdLimit); err != nil {
		return []string{fmt.Sprintf("container %s: clients of its published ports that send something before the restore will be reset: %v", c.Name, err)}
	}
	return nil
}

func (m *Creator) warn(warnings []string) {
	for _, w := range warnings {
		if m.Warned != nil {
			m.Warned(w)
		}
	}
}

// beforeFreeze reads what can change until then, and lets a member of a group
// freeze all.
func (m *Creator) beforeFreeze(n *network, req Request) func(context.Context) error {
	return func(ctx context.Context) error {
		if err := n.readSysctls(&m.sysctls, req.Container); err != nil || req.member == nil {
			return err
		}
		return req.member.freeze(ctx)
	}
}

func addressesOf(c docker.Container) (list []netip.Addr) {
	for _, n := range c.Networks {
		for _, text := range [...]string{n.IP, n.IPv6} {
			if a, err := netip.ParseAddr(text); err == nil {
				list = append(list, a)
			}
		}
	}
	return list
}

// DaemonNetNS is the network namespace that the container's parent, containerd's
// shim, has in common with the daemon; empty for our own.
func DaemonNetNS(pid int) string {
	shim := linux.Parent(pid)
	theirs := linux.NamespaceLink(shim, "net")
	if theirs == "" || theirs == linux.NamespaceLink(os.Getpid(), "net") {
		return ""
	}
	return netns.Of(shim)
}
