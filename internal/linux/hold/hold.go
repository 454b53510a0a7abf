// Package hold drops the packets of connections whose container is not there for
// a while: the host's own stack would answer them with a reset.
package hold

import (
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"time"

	"github.com/google/nftables"
	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"

	"github.com/checkpointctl/checkpointctl/internal/linux/netns"
)

// Flow is one direction of a connection, as its packets reach the host.
type Flow struct {
	Protocol            string // tcp or udp
	Source, Destination netip.AddrPort
}

// tablePrefix, with the container's ID behind it, is the name of the nftables
// table, by which nft list ruleset shows whose it is.
const tablePrefix = "checkpointctl-"

// batch is how many flows go into one message, which has 64 KiB at most.
const batch = 200

// Hold drops exactly these flows in the network namespace at a path (empty for
// the caller's own), until Release or for so long: the kernel lets them through
// after that, also when nobody is left to release them. What an earlier call
// holds for the container is let through.
func Hold(ns, id string, flows []Flow, limit time.Duration) error {
	if err := Release(ns, id); err != nil {
		return err
	}
	if len(flows) == 0 {
		return nil
	}
	return tables(ns, func(c *nftables.Conn) error {
		t := c.AddTable(&nftables.Table{Family: nftables.TableFamilyINet, Name: tablePrefix + id})
		accept := nftables.ChainPolicyAccept
		var chains []*nftables.Chain
		// Before connection tracking, so that no entry is made of what is dropped.
		for name, hook := range map[string]*nftables.ChainHook{"prerouting": nftables.ChainHookPrerouting, "output": nftables.ChainHookOutput} {
			chains = append(chains, c.AddChain(&nftables.Chain{
				Name: name, Table: t, Hooknum: hook, Priority: nftables.ChainPriorityRaw, Type: nftables.ChainTypeFilter, Policy: &accept,
			}))
		}
		for _, f := range families() {
			if err := f.add(c, t, chains, flows, limit); err != nil {
				return err
			}
		}
		return nil
	})
}

// Release lets through what Hold holds for a container, if it does.
func Release(ns, id string) error {
	held, err := Held(ns)
	if err != nil {
		return err
	}
	if _, ok := held[id]; !ok {
		return nil
	}
	return tables(ns, func(c *nftables.Conn) error {
		c.DelTable(&nftables.Table{Family: nftables.TableFamilyINet, Name: tablePrefix + id})
		return nil
	})
}

// Held returns, for the containers for which Hold was called and Release was not,
// by their IDs, how many flows are held still.
func Held(ns string) (map[string]int, error) {
	held := map[string]int{}
	err := tables(ns, func(c *nftables.Conn) error {
		list, err := c.ListTablesOfFamily(nftables.TableFamilyINet)
		if err != nil {
			return err
		}
		for _, t := range list {
			id, ours := strings.CutPrefix(t.Name, tablePrefix)
			if !ours {
				continue
			}
			held[id] = 0
			for _, f := range families() {
				flows, err := c.GetSetElements(&nftables.Set{Table: t, Name: f.set})
				if err != nil {
					return err
				}
				held[id] += len(flows)
			}
		}
		return nil
	})
	return held, err
}

// tables lets f change nftables, all at once.
func tables(ns string, f func(*nftables.Conn) error) error {
	err := netns.Do(ns, func() error {
		c, err := nftables.New()
		if err == nil {
			err = f(c)
		}
		if err == nil {
			err = c.Flush()
		}
		return err
	})
	if err != nil {
		return fmt.Errorf("nftables: %w", err)
	}
	return nil
}

// family is where the headers of IPv4 or IPv6 have their addresses.
type family struct {
	set         string
	number      byte // NFPROTO
	address     nftables.SetDatatype
	source, dst uint32 // offsets
}

func families() [2]family {
	return [2]family{
		{"ipv4", unix.NFPROTO_IPV4, nftables.TypeIPAddr, 12, 16},
		{"ipv6", unix.NFPROTO_IPV6, nftables.TypeIP6Addr, 8, 24},
	}
}

// add makes a set of the family's flows, and a rule that drops what is in it.
func (f family) add(c *nftables.Conn, t *nftables.Table, chains []*nftables.Chain, flows []Flow, limit time.Duration) error {
	key, err := nftables.ConcatSetType(f.address, nftables.TypeInetService, f.address, nftables.TypeInetService, nftables.TypeInetProto)
	if err != nil {
		return err
	}
	set := &nftables.Set{Table: t, Name: f.set, KeyType: key, Concatenation: true, HasTimeout: true}
	if err := c.AddSet(set, nil); err != nil {
		return err
	}
	var elements []nftables.SetElement
	for _, flow := range flows {
		if flow.Source.Addr().Is4() == (f.number == unix.NFPROTO_IPV4) {
			key, err := flow.key()
			if err != nil {
				return err
			}
			elements = append(elements, nftables.SetElement{Key: key, Timeout: limit})
		}
	}
	for len(elements) > 0 {
		n := min(batch, len(elements))
		if err := c.SetAddElements(set, elements[:n]); err != nil {
			return err
		}
		elements = elements[n:]
	}
	for _, chain := range chains {
		c.AddRule(&nftables.Rule{Table: t, Chain: chain, Exprs: f.match(set)})
	}
	return nil
}

// match fills registers of four bytes each with what a key of the set holds.
func (f family) match(set *nftables.Set) []expr.Any {
	const first = unix.NFT_REG32_00
	words := f.address.Bytes / 4
	load := func(base expr.PayloadBase, offset, size, register uint32) expr.Any {
		return &expr.Payload{Base: base, Offset: offset, Len: size, DestRegister: first + register}
	}
	return []expr.Any{
		&expr.Meta{Key: expr.MetaKeyNFPROTO, Register: 1},
		&expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: []byte{f.number}},
		load(expr.PayloadBaseNetworkHeader, f.source, f.address.Bytes, 0),
		load(expr.PayloadBaseTransportHeader, 0, 2, words),
		load(expr.PayloadBaseNetworkHeader, f.dst, f.address.Bytes, words+1),
		load(expr.PayloadBaseTransportHeader, 2, 2, 2*words+1),
		&expr.Meta{Key: expr.MetaKeyL4PROTO, Register: first + 2*words + 2},
		&expr.Lookup{SourceRegister: first, SetName: set.Name, SetID: set.ID},
		&expr.Verdict{Kind: expr.VerdictDrop},
	}
}

// key is the flow as match has it: everything is filled up to four bytes.
func (f Flow) key() ([]byte, error) {
	protocol, ok := map[string]byte{"tcp": unix.IPPROTO_TCP, "udp": unix.IPPROTO_UDP}[f.Protocol]
	if !ok || f.Source.Addr().BitLen() != f.Destination.Addr().BitLen() {
		return nil, errors.New("no flow: " + f.Protocol + " " + f.Source.String() + " -> " + f.Destination.String())
	}
	var key []byte
	for _, end := range [...]netip.AddrPort{f.Source, f.Destination} {
		key = append(key, end.Addr().AsSlice()...)
		key = append(key, byte(end.Port()>>8), byte(end.Port()), 0, 0)
	}
	return append(key, protocol, 0, 0, 0), nil
}
