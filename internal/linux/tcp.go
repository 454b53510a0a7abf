package linux

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// Connected says whether the network namespace of a process has TCP sockets
// with a peer, or cannot be read: in any state but TIME_WAIT, CLOSE and LISTEN,
// see include/net/tcp_states.h.
func Connected(pid int) bool {
	if n, err := inUse(pid, "TCP"); err == nil && n == 0 {
		return false
	}
	for _, file := range [...]string{"net/tcp", "net/tcp6"} {
		data, err := os.ReadFile(proc(pid, file))
		if errors.Is(err, os.ErrNotExist) && file == "net/tcp6" {
			continue // no IPv6
		}
		if err != nil || hasPeers(string(data)) {
			return true
		}
	}
	return false
}

// HasUDP says whether the network namespace of a process has UDP sockets, or cannot be
// read.
func HasUDP(pid int) bool {
	n, err := inUse(pid, "UDP")
	return err != nil || n > 0
}

// inUse counts the sockets of a protocol, TCP or UDP, in the network namespace of a process.
// That is quick; for a list of them the kernel walks through its table of all sockets, which
// takes milliseconds on hosts with much memory.
func inUse(pid int, protocol string) (total int, err error) {
	for _, file := range [...]string{"net/sockstat", "net/sockstat6"} {
		data, err := os.ReadFile(proc(pid, file))
		if errors.Is(err, os.ErrNotExist) && file == "net/sockstat6" {
			continue // no IPv6
		}
		if err != nil {
			return 0, err
		}
		n, err := parseSockstat(string(data), protocol)
		if err != nil {
			return 0, fmt.Errorf("%s: %w", file, err)
		}
		total += n
	}
	return total, nil
}

// parseSockstat reads a line such as "TCP: inuse 2 orphan 0 tw 0 alloc 4 mem 1", or of
// TCP6: sockstat_seq_show in net/ipv4/proc.c and net/ipv6/proc.c.
func parseSockstat(text, protocol string) (int, error) {
	for line := range strings.Lines(text) {
		f := strings.Fields(line)
		if len(f) > 2 && (f[0] == protocol+":" || f[0] == protocol+"6:") && f[1] == "inuse" {
			return strconv.Atoi(f[2])
		}
	}
	return 0, fmt.Errorf("no line of %s in %q", protocol, text)
}

// hasPeers reads /proc/net/tcp, whose fourth column is the state.
func hasPeers(table string) bool {
	header := true
	for line := range strings.Lines(table) {
		f := strings.Fields(line)
		switch {
		case header:
			header = false
		case len(f) < 4 || f[3] != "06" && f[3] != "07" && f[3] != "0A":
			return true
		}
	}
	return false
}

// InRepair opens the TCP sockets of the processes that CRIU switched to repair
// mode, in which the kernel neither sends nor takes packets. It needs Linux 5.6.
func InRepair(pids []int) []*os.File {
	var socks []*os.File
	seen := map[string]bool{}
	for _, pid := range pids {
		fd, err := unix.PidfdOpen(pid, 0)
		if err != nil {
			continue
		}
		links, _ := filepath.Glob(proc(pid, "fd/*"))
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
			if on, err := unix.GetsockoptInt(sock, unix.IPPROTO_TCP, unix.TCP_REPAIR); err == nil && on == 1 {
				socks = append(socks, os.NewFile(uintptr(sock), target))
			} else {
				_ = unix.Close(sock)
			}
		}
		_ = unix.Close(fd)
	}
	return socks
}

// EndRepair lets the sockets send and take packets again, and closes these
// handles of them.
func EndRepair(socks []*os.File) error {
	var errs []error
	for _, f := range socks {
		errs = append(errs, unix.SetsockoptInt(int(f.Fd()), unix.IPPROTO_TCP, unix.TCP_REPAIR, unix.TCP_REPAIR_OFF), f.Close())
	}
	return errors.Join(errs...)
}
