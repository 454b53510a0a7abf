package conntrack

import (
	"errors"
	"fmt"
	"net/netip"

	"github.com/mdlayher/netlink"
	"github.com/ti-mo/conntrack"
	"github.com/ti-mo/netfilter"
	"golang.org/x/sys/unix"

	"github.com/checkpointctl/checkpointctl/internal/linux/netns"
)

// enum ip_conntrack_status
const (
	statusSeenReply = 1 << 1
	statusAssured   = 1 << 2
	statusConfirmed = 1 << 3
)

// IP_CT_TCP_FLAG: the window scale is known, the peer takes selective
// acknowledgements, and packets count whatever their sequence number.
const (
	flagWindowScale = 0x01
	flagSackPerm    = 0x02
	flagBeLiberal   = 0x08
)

// Attributes of linux/netfilter/nfnetlink_conntrack.h. The libraries have none
// for translations, and the kernel makes none from the tuples alone.
const (
	msgNew = 0

	ctaTupleOrig  = 1
	ctaTupleReply = 2
	ctaStatus     = 3
	ctaProtoInfo  = 4
	ctaNATSrc     = 6
	ctaTimeout    = 7
	ctaMark       = 8
	ctaNATDst     = 13
	ctaZone       = 18

	ctaTupleIP, ctaTupleProto           = 1, 2
	ctaIPv4Src, ctaIPv4Dst              = 1, 2
	ctaIPv6Src, ctaIPv6Dst              = 3, 4
	ctaProtoNum, ctaSrcPort, ctaDstPort = 1, 2, 3

	ctaNATv4Min, ctaNATv4Max = 1, 2
	ctaNATProto              = 3
	ctaNATv6Min, ctaNATv6Max = 4, 5
	ctaPortMin, ctaPortMax   = 1, 2

	ctaProtoInfoTCP           = 1
	ctaTCPState               = 1
	ctaTCPScale, ctaTCPReply  = 2, 3
	ctaTCPFlags, ctaTCPFlags2 = 4, 5
)

// Put makes the entries in the network namespace at a path (empty for the
// caller's own). One that is there and translates otherwise is replaced. It
// tries all, and names in its error those that it could not make.
func Put(ns string, entries []Entry) error {
	if len(entries) == 0 {
		return nil
	}
	p, err := dial(ns)
	if err != nil {
		return fmt.Errorf("connection tracking: %w", err)
	}
	defer p.close()
	var errs []error
	for _, e := range entries {
		if err := p.put(e); err != nil {
			errs = append(errs, fmt.Errorf("connection tracking entry %s: %w", e, err))
		}
	}
	return errors.Join(errs...)
}

type putter struct {
	known *conntrack.Conn
	raw   *netfilter.Conn
}

func dial(ns string) (p putter, err error) {
	if p.known, err = dialKnown(ns); err != nil {
		return p, err
	}
	err = netns.Do(ns, func() (err error) { p.raw, err = netfilter.Dial(nil); return err })
	if err != nil {
		_ = p.known.Close()
	}
	return p, err
}

func (p putter) close() {
	_ = p.known.Close()
	_ = p.raw.Close()
}

func (p putter) put(e Entry) error {
	is, err := p.try(e, true)
	if errors.Is(err, unix.EEXIST) || err == nil && !is {
		var there bool
		if there, err = p.clear(e); err == nil {
			is, err = p.try(e, !there)
		}
	}
	if err == nil && !is {
		// The kernel found another port, which the peer would not know.
		_, err = p.clear(e)
		err = errors.Join(errors.New("the kernel translates it otherwise"), err)
	}
	return err
}

// try says whether the entry has become the wanted one.
func (p putter) try(e Entry, create bool) (bool, error) {
	if err := p.send(e, create); err != nil {
		return false, err
	}
	f, err := p.known.Get(conntrack.Flow{TupleOrig: tuple(e, e.Source, e.Destination), Zone: e.Zone})
	return same(f, e), err
}

// clear removes what is in the way of an entry, unless it is the entry.
func (p putter) clear(e Entry) (there bool, err error) {
	// The library asks by one of both.
	for _, query := range []conntrack.Flow{
		{TupleOrig: tuple(e, e.Source, e.Destination), Zone: e.Zone},
		{TupleReply: tuple(e, e.ReplySource, e.ReplyDestination), Zone: e.Zone},
	} {
		f, err := p.known.Get(query)
		if err == nil && same(f, e) {
			return true, nil
		}
		if err == nil {
			err = p.known.Delete(query)
		}
		if err != nil && !errors.Is(err, unix.ENOENT) {
			return false, err
		}
	}
	return false, nil
}

func same(f conntrack.Flow, e Entry) bool {
	is, _ := entry(f)
	return is.Protocol == e.Protocol && is.Source == e.Source && is.Destination == e.Destination &&
		is.ReplySource == e.ReplySource && is.ReplyDestination == e.ReplyDestination
}

func tuple(e Entry, from, to netip.AddrPort) conntrack.Tuple {
	return conntrack.Tuple{
		IP:    conntrack.IPTuple{SourceAddress: from.Addr(), DestinationAddress: to.Addr()},
		Proto: conntrack.ProtoTuple{Protocol: e.number(), SourcePort: from.Port(), DestinationPort: to.Port()},
	}
}

// send makes an entry, or updates the one that is there.
func (p putter) send(e Entry, create bool) error {
	attributes, err := encode(e, create)
	if err != nil {
		return err
	}
	h := netfilter.Header{SubsystemID: netfilter.NFSubsysCTNetlink, MessageType: msgNew, Family: netfilter.ProtoIPv4, Flags: netlink.Request | netlink.Acknowledge}
	if e.Source.Addr().Is6() {
		h.Family = netfilter.ProtoIPv6
	}
	if create {
		h.Flags |= netlink.Create | netlink.Excl
	}
	m, err := netfilter.EncodeNetlink(h, attributes)
	if err == nil {
		_, err = p.raw.Query(m)
	}
	return err
}

// encode leaves the translation out of an update, as the kernel demands.
func encode(e Entry, create bool) (*netlink.AttributeEncoder, error) {
	for _, a := range []netip.AddrPort{e.Source, e.Destination, e.ReplySource, e.ReplyDestination} {
		if !a.IsValid() || a.Addr().Is4() != e.Source.Addr().Is4() {
			return nil, errors.New("its addresses are not of one family")
		}
	}
	if e.Protocol != TCP && e.Protocol != UDP {
		return nil, fmt.Errorf("protocol %q", e.Protocol)
	}
	ae := netfilter.NewAttributeEncoder()
	ae.Nested(ctaTupleOrig, encodeTuple(e.number(), e.Source, e.Destination))
	// As without translation: the kernel works the true one out from what
	// follows, and marks the entry as translated only if it does so.
	ae.Nested(ctaTupleReply, encodeTuple(e.number(), e.Destination, e.Source))
	destination, source := e.translated()
	if create && destination {
		ae.Nested(ctaNATDst, encodeNAT(e.ReplySource))
	}
	if create && source {
		ae.Nested(ctaNATSrc, encodeNAT(e.ReplyDestination))
	}
	ae.Uint32(ctaStatus, statusSeenReply|statusAssured|statusConfirmed)
	ae.Uint32(ctaTimeout, max(e.TimeoutSeconds, 1))
	ae.Uint32(ctaMark, e.Mark)
	if e.Zone != 0 {
		ae.Uint16(ctaZone, e.Zone)
	}
	if e.Protocol == TCP {
		ae.Nested(ctaProtoInfo, func(ae *netlink.AttributeEncoder) error {
			ae.Nested(ctaProtoInfoTCP, encodeTCP(e))
			return nil
		})
	}
	return ae, nil
}

func encodeTuple(protocol uint8, from, to netip.AddrPort) func(*netlink.AttributeEncoder) error {
	src, dst := uint16(ctaIPv4Src), uint16(ctaIPv4Dst)
	if from.Addr().Is6() {
		src, dst = ctaIPv6Src, ctaIPv6Dst
	}
	return func(ae *netlink.AttributeEncoder) error {
		ae.Nested(ctaTupleIP, func(ae *netlink.AttributeEncoder) error {
			ae.Bytes(src, from.Addr().AsSlice())
			ae.Bytes(dst, to.Addr().AsSlice())
			return nil
		})
		ae.Nested(ctaTupleProto, func(ae *netlink.AttributeEncoder) error {
			ae.Uint8(ctaProtoNum, protocol)
			ae.Uint16(ctaSrcPort, from.Port())
			ae.Uint16(ctaDstPort, to.Port())
			return nil
		})
		return nil
	}
}

// encodeNAT is a range of one address and one port.
func encodeNAT(to netip.AddrPort) func(*netlink.AttributeEncoder) error {
	from, till := uint16(ctaNATv4Min), uint16(ctaNATv4Max)
	if to.Addr().Is6() {
		from, till = ctaNATv6Min, ctaNATv6Max
	}
	return func(ae *netlink.AttributeEncoder) error {
		ae.Bytes(from, to.Addr().AsSlice())
		ae.Bytes(till, to.Addr().AsSlice())
		ae.Nested(ctaNATProto, func(ae *netlink.AttributeEncoder) error {
			ae.Uint16(ctaPortMin, to.Port())
			ae.Uint16(ctaPortMax, to.Port())
			return nil
		})
		return nil
	}
}

// encodeTCP lets any sequence number count: the kernel has not seen where the
// windows are, and what it takes for invalid is not translated.
func encodeTCP(e Entry) func(*netlink.AttributeEncoder) error {
	const mask = flagWindowScale | flagSackPerm | flagBeLiberal
	return func(ae *netlink.AttributeEncoder) error {
		ae.Uint8(ctaTCPState, e.State)
		ae.Uint8(ctaTCPScale, e.WindowScale)
		ae.Uint8(ctaTCPReply, e.ReplyWindowScale)
		ae.Bytes(ctaTCPFlags, []byte{e.Flags | flagBeLiberal, mask})
		ae.Bytes(ctaTCPFlags2, []byte{e.ReplyFlags | flagBeLiberal, mask})
		return nil
	}
}
