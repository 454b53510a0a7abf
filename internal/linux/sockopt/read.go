package sockopt

import (
	"fmt"
	"maps"
	"net"
	"os"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/checkpointctl/checkpointctl/internal/linux/netns"
)

// Processes maps the pids of a container's own pid namespace to the caller's.
type Processes map[int]int

// Read returns the sockets of processes that have options which a new socket in the
// network namespace of one of them, init, does not have. Those in other namespaces are
// left out, and so is what is gone meanwhile.
func Read(init int, processes Processes) (list []Socket, err error) {
	err = netns.Do(netns.Of(init), func() error {
		r := reader{fresh: map[kind]fresh{}, seen: map[string]bool{}}
		var err error
		if r.own, err = os.Readlink("/proc/thread-self/ns/net"); err != nil {
			return err
		}
		if r.groups, err = groups(); err != nil {
			return err
		}
		for _, inside := range slices.Sorted(maps.Keys(processes)) {
			r.process(inside, processes[inside])
		}
		list = r.list
		return nil
	})
	return list, err
}

// fresh is what a new socket of a kind has.
type fresh struct {
	values     map[string]int
	congestion string
}

type reader struct {
	own    string // network namespace
	groups []Group
	fresh  map[kind]fresh
	seen   map[string]bool // sockets that several descriptors lead to
	list   []Socket
}

func (r *reader) process(inside, pid int) {
	dir := fmt.Sprintf("/proc/%d/", pid)
	if ns, err := os.Readlink(dir + "ns/net"); err != nil || ns != r.own {
		return
	}
	pidfd, err := unix.PidfdOpen(pid, 0)
	if err != nil {
		return
	}
	defer unix.Close(pidfd)
	f, err := os.Open(dir + "fd")
	if err != nil {
		return
	}
	defer f.Close()
	names, _ := f.Readdirnames(-1)
	for _, name := range names {
		target, err := os.Readlink(dir + "fd/" + name)
		if err != nil || !strings.HasPrefix(target, "socket:") || r.seen[target] {
			continue
		}
		n, _ := strconv.Atoi(name)
		if fd, err := unix.PidfdGetfd(pidfd, n, 0); err == nil {
			r.seen[target] = true
			r.socket(Socket{PID: inside, FD: n}, fd)
			_ = unix.Close(fd)
		}
	}
}

func (r *reader) socket(s Socket, fd int) {
	k, ok := kindOf(fd)
	if !ok {
		return
	}
	usual, known := r.fresh[k]
	if !known {
		usual = newOf(k)
		r.fresh[k] = usual
	}
	s.Domain, s.Type, s.Protocol = k.domain, k.typ, k.protocol
	s.Options = k.values(fd)
	maps.DeleteFunc(s.Options, func(name string, v int) bool { start, is := usual.values[name]; return !is || start == v })
	if tcp(k) {
		if c := congestion(fd); c != usual.congestion {
			s.Congestion = c
		}
	}
	if packets6(k) {
		s.Interface = multicastInterface(fd)
	}
	if packets(k) {
		for _, g := range r.groups {
			if receives(fd, g) {
				s.Groups = append(s.Groups, g)
			}
		}
	}
	if len(s.Options) > 0 || s.Congestion != "" || s.Interface != "" || s.Groups != nil {
		r.list = append(r.list, s)
	}
}

// newOf makes a socket in the network namespace of the thread, which has sysctls for some
// of the options.
func newOf(k kind) fresh {
	fd, err := unix.Socket(k.domain, k.typ|unix.SOCK_CLOEXEC, k.protocol)
	if err != nil {
		return fresh{}
	}
	defer unix.Close(fd)
	return fresh{k.values(fd), congestion(fd)}
}

func congestion(fd int) string {
	name, _ := unix.GetsockoptString(fd, unix.IPPROTO_TCP, unix.TCP_CONGESTION)
	return name
}

func multicastInterface(fd int) string {
	index, err := unix.GetsockoptInt(fd, unix.IPPROTO_IPV6, unix.IPV6_MULTICAST_IF)
	if err != nil || index == 0 {
		return ""
	}
	i, err := net.InterfaceByIndex(index)
	if err != nil {
		return ""
	}
	return i.Name
}
