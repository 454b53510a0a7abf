// Package conntrack lists the kernel's entries of the connections of a container
// and puts them back: without them, what it sends after a restore is translated
// anew, and its peers answer with a reset.
package conntrack

import (
	"fmt"
	"net/netip"
	"slices"

	"github.com/ti-mo/conntrack"
	"golang.org/x/sys/unix"

	"github.com/checkpointctl/checkpointctl/internal/linux/netns"
)

// Protocols of entries.
const (
	TCP = "tcp"
	UDP = "udp"
)

// Entry is a connection with its translation: who began it sent from Source to
// Destination, and the answers go from ReplySource to ReplyDestination.
type Entry struct {
	Protocol         string         `json:"protocol"`
	Source           netip.AddrPort `json:"source"`
	Destination      netip.AddrPort `json:"destination"`
	ReplySource      netip.AddrPort `json:"reply_source"`
	ReplyDestination netip.AddrPort `json:"reply_destination"`
	Status           uint32         `json:"status"` // enum ip_conntrack_status
	TimeoutSeconds   uint32         `json:"timeout_s"`
	Mark             uint32         `json:"mark,omitempty"`
	Zone             uint16         `json:"zone,omitempty"`
	// Of TCP, as enum tcp_conntrack and IP_CT_TCP_FLAG have them; the window
	// scales are only known where the handshake was seen.
	State            uint8 `json:"state,omitempty"`
	Flags            uint8 `json:"flags,omitempty"`
	ReplyFlags       uint8 `json:"reply_flags,omitempty"`
	WindowScale      uint8 `json:"window_scale,omitempty"`
	ReplyWindowScale uint8 `json:"reply_window_scale,omitempty"`
}

func (e Entry) String() string {
	return fmt.Sprintf("%s %s -> %s, answered by %s -> %s", e.Protocol, e.Source, e.Destination, e.ReplySource, e.ReplyDestination)
}

// Incoming is the direction in which packets reach the host from the other end,
// with the container at one of the addresses.
func (e Entry) Incoming(addresses []netip.Addr) (from, to netip.AddrPort) {
	if slices.Contains(addresses, e.ReplySource.Addr()) {
		return e.Source, e.Destination
	}
	return e.ReplySource, e.ReplyDestination
}

// Translated says whether the two directions differ in more than their order: the
// other end knows the container by an address of the host.
func (e Entry) Translated() bool {
	destination, source := e.translated()
	return destination || source
}

// translated says whether the destination or the source is translated.
func (e Entry) translated() (destination, source bool) {
	return e.ReplySource != e.Destination, e.ReplyDestination != e.Source
}

func (e Entry) number() uint8 {
	if e.Protocol == UDP {
		return unix.IPPROTO_UDP
	}
	return unix.IPPROTO_TCP
}

// The states in which at least one direction of a TCP connection is open.
const (
	stateEstablished = 3
	stateCloseWait   = 5
)

// List returns the entries, in the network namespace at a path (empty for the
// caller's own), of open connections with one of the addresses at their end:
// they were made to it, or by it. TCP has to be established or half closed, UDP
// to have been answered. It takes some
// microseconds for each entry that the kernel has.
func List(ns string, addresses []netip.Addr) ([]Entry, error) {
	c, err := dialKnown(ns)
	if err != nil {
		return nil, fmt.Errorf("connection tracking: %w", err)
	}
	defer func() { _ = c.Close() }()
	flows, err := c.Dump(nil)
	if err != nil {
		return nil, fmt.Errorf("listing connection tracking entries: %w", err)
	}
	var list []Entry
	for _, f := range flows {
		if e, ok := entry(f); ok && (slices.Contains(addresses, e.ReplySource.Addr()) || slices.Contains(addresses, e.Source.Addr())) {
			list = append(list, e)
		}
	}
	return list, nil
}

// dialKnown makes the socket in the namespace and lets it be used outside: to
// wait for an answer on a thread that Go cannot share is slow.
func dialKnown(ns string) (c *conntrack.Conn, err error) {
	err = netns.Do(ns, func() (err error) { c, err = conntrack.Dial(nil); return err })
	return c, err
}

// entry says whether the flow is one of an open connection.
func entry(f conntrack.Flow) (Entry, bool) {
	orig, reply := f.TupleOrig, f.TupleReply
	e := Entry{
		Source:           netip.AddrPortFrom(orig.IP.SourceAddress.Unmap(), orig.Proto.SourcePort),
		Destination:      netip.AddrPortFrom(orig.IP.DestinationAddress.Unmap(), orig.Proto.DestinationPort),
		ReplySource:      netip.AddrPortFrom(reply.IP.SourceAddress.Unmap(), reply.Proto.SourcePort),
		ReplyDestination: netip.AddrPortFrom(reply.IP.DestinationAddress.Unmap(), reply.Proto.DestinationPort),
		Status:           uint32(f.Status), TimeoutSeconds: f.Timeout, Mark: f.Mark, Zone: f.Zone,
	}
	switch orig.Proto.Protocol {
	case unix.IPPROTO_UDP:
		e.Protocol = UDP
		return e, e.Status&statusSeenReply != 0
	case unix.IPPROTO_TCP:
		e.Protocol = TCP
		if t := f.ProtoInfo.TCP; t != nil {
			e.State, e.WindowScale, e.ReplyWindowScale = t.State, t.OriginalWindowScale, t.ReplyWindowScale
			// A pair of flags and their mask, struct nf_ct_tcp_flags.
			e.Flags, e.ReplyFlags = uint8(t.OriginalFlags>>8), uint8(t.ReplyFlags>>8)
		}
		return e, e.State >= stateEstablished && e.State <= stateCloseWait
	default:
		return e, false
	}
}
