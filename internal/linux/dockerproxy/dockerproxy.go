// Package dockerproxy finds the connections to containers that Docker's
// docker-proxy relays: for these the container's peer is a process on the host,
// which ends with the container's ports.
package dockerproxy

import (
	"encoding/binary"
	"encoding/hex"
	"errors"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// Connection is one from docker-proxy to a container. Peer is docker-proxy's end
// of it, which the container takes for its client.
type Connection struct {
	Peer    netip.AddrPort `json:"peer"`
	Address netip.AddrPort `json:"address"`
}

// Connections returns the established TCP connections that are relayed to one of
// the addresses. Without root those of others' docker-proxy are not seen.
func Connections(addresses []netip.Addr) ([]Connection, error) {
	return find("/proc", addresses)
}

func find(proc string, addresses []netip.Addr) (list []Connection, err error) {
	processes, err := filepath.Glob(filepath.Join(proc, "[0-9]*"))
	if err != nil || len(addresses) == 0 {
		return nil, err
	}
	for _, process := range processes {
		if comm, err := os.ReadFile(filepath.Join(process, "comm")); err != nil || string(comm) != "docker-proxy\n" {
			continue
		}
		found, err := relayed(process, addresses)
		if err != nil && !errors.Is(err, os.ErrNotExist) { // else it has ended
			return nil, err
		}
		list = append(list, found...)
	}
	return list, nil
}

// relayed are the connections of one docker-proxy.
func relayed(process string, addresses []netip.Addr) (list []Connection, err error) {
	sockets, err := socketsOf(process)
	if err != nil {
		return nil, err
	}
	for _, name := range [...]string{"tcp", "tcp6"} {
		table, err := os.ReadFile(filepath.Join(process, "net", name))
		if errors.Is(err, os.ErrNotExist) && name == "tcp6" {
			continue // no IPv6
		}
		if err != nil {
			return nil, err
		}
		for line := range strings.Lines(string(table)) {
			c, inode, ok := established(line)
			if ok && sockets[inode] && slices.Contains(addresses, c.Address.Addr()) {
				list = append(list, c)
			}
		}
	}
	return list, nil
}

// socketsOf are the inodes of a process's sockets.
func socketsOf(process string) (map[string]bool, error) {
	dir := filepath.Join(process, "fd")
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	inodes := map[string]bool{}
	for _, e := range entries {
		link, _ := os.Readlink(filepath.Join(dir, e.Name()))
		if inode, ok := strings.CutPrefix(link, "socket:["); ok {
			inodes[strings.TrimSuffix(inode, "]")] = true
		}
	}
	return inodes, nil
}

// established reads a line of /proc/net/tcp: its local and remote address, its
// state and the inode are columns 2, 3, 4 and 10.
func established(line string) (c Connection, inode string, ok bool) {
	f := strings.Fields(line)
	if len(f) < 10 || f[3] != "01" {
		return c, "", false
	}
	local, okLocal := address(f[1])
	remote, okRemote := address(f[2])
	return Connection{Peer: local, Address: remote}, f[9], okLocal && okRemote
}

// address reads 020011AC:0050: words in the machine's byte order, and a port.
func address(text string) (netip.AddrPort, bool) {
	words, port, _ := strings.Cut(text, ":")
	raw, err := hex.DecodeString(words)
	n, portErr := strconv.ParseUint(port, 16, 16)
	if err != nil || portErr != nil || len(raw) != 4 && len(raw) != 16 {
		return netip.AddrPort{}, false
	}
	for i := 0; i < len(raw); i += 4 {
		binary.NativeEndian.PutUint32(raw[i:], binary.BigEndian.Uint32(raw[i:]))
	}
	a, _ := netip.AddrFromSlice(raw)
	return netip.AddrPortFrom(a.Unmap(), uint16(n)), true
}
