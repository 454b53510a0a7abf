package sockopt

import (
	"encoding/binary"
	"encoding/hex"
	"errors"
	"net"
	"net/netip"
	"os"
	"slices"
	"strconv"
	"strings"
	"unsafe"

	"golang.org/x/sys/unix"
)

// groups returns those that somebody in the network namespace of the thread receives.
func groups() ([]Group, error) {
	text, err := os.ReadFile("/proc/thread-self/net/igmp")
	if err != nil {
		return nil, err
	}
	list := parseIGMP(string(text))
	text, err = os.ReadFile("/proc/thread-self/net/igmp6")
	if errors.Is(err, os.ErrNotExist) { // no IPv6
		err = nil
	}
	return append(list, parseIGMP6(string(text))...), err
}

// parseIGMP reads a line of an interface and then lines of its groups (igmp_mc_seq_show in
// net/ipv4/igmp.c).
func parseIGMP(text string) (list []Group) {
	name := ""
	for line := range strings.Lines(text) {
		fields := strings.Fields(line)
		switch {
		case len(fields) < 2:
		case line[0] != '\t':
			name = fields[1]
		case len(fields[0]) == 8:
			n, err := strconv.ParseUint(fields[0], 16, 32)
			if err != nil {
				continue
			}
			var bytes [4]byte
			binary.NativeEndian.PutUint32(bytes[:], uint32(n))
			if a := netip.AddrFrom4(bytes); a != allHosts4 {
				list = append(list, Group{Interface: name, Address: a})
			}
		}
	}
	return list
}

// Every interface receives these, by itself.
var (
	allHosts4 = netip.MustParseAddr("224.0.0.1")
	allNodes6 = []netip.Addr{netip.MustParseAddr("ff01::1"), netip.MustParseAddr("ff02::1")}
)

// parseIGMP6 reads a line for each group (igmp6_mc_seq_show in net/ipv6/mcast.c).
func parseIGMP6(text string) (list []Group) {
	for line := range strings.Lines(text) {
		fields := strings.Fields(line)
		if len(fields) < 3 {
			continue
		}
		bytes, err := hex.DecodeString(fields[2])
		if a, ok := netip.AddrFromSlice(bytes); err == nil && ok && !slices.Contains(allNodes6, a) {
			list = append(list, Group{Interface: fields[1], Address: a})
		}
	}
	return list
}

// levelOf is that of the options for a group's address.
func levelOf(g Group) int {
	if g.Address.Is4() {
		return unix.IPPROTO_IP
	}
	return unix.IPPROTO_IPV6
}

// request returns a struct group_req, with which a struct group_filter begins as well.
func request(g Group, size int) ([]byte, error) {
	i, err := net.InterfaceByName(g.Interface)
	if err != nil {
		return nil, err
	}
	const address = 8 // behind the index, aligned
	b := make([]byte, size)
	binary.NativeEndian.PutUint32(b, uint32(i.Index))
	if g.Address.Is4() {
		binary.NativeEndian.PutUint16(b[address:], unix.AF_INET)
		copy(b[address+4:], g.Address.AsSlice()) // behind family and port
	} else {
		binary.NativeEndian.PutUint16(b[address:], unix.AF_INET6)
		copy(b[address+8:], g.Address.AsSlice()) // behind family, port and flow
	}
	return b, nil
}

// Of linux/in.h, with a struct sockaddr_storage of 128 bytes.
const (
	groupReq      = 8 + 128
	groupFilter   = groupReq + 8
	filterMode    = groupReq
	filterSources = groupReq + 4
	exclude       = 0 // MCAST_EXCLUDE
)

// receives says whether a socket is a member of a group, for all sources.
func receives(fd int, g Group) bool {
	b, err := request(g, groupFilter)
	if err != nil {
		return false
	}
	size := uint32(len(b))
	_, _, e := unix.Syscall6(unix.SYS_GETSOCKOPT, uintptr(fd), uintptr(levelOf(g)), unix.MCAST_MSFILTER,
		uintptr(unsafe.Pointer(&b[0])), uintptr(unsafe.Pointer(&size)), 0) //nolint:gosec // x/sys has no call that gives the kernel a struct and reads it
	return e == 0 && binary.NativeEndian.Uint32(b[filterMode:]) == exclude && binary.NativeEndian.Uint32(b[filterSources:]) == 0
}

func join(fd int, g Group) error {
	b, err := request(g, groupReq)
	if err != nil {
		return err
	}
	return unix.SetsockoptString(fd, levelOf(g), unix.MCAST_JOIN_GROUP, string(b))
}
