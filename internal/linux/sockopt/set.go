package sockopt

import (
	"errors"
	"fmt"
	"net"
	"os"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/checkpointctl/checkpointctl/internal/linux/netns"
)

// Set gives the sockets of processes their options back, and returns why some did not get
// all. A descriptor that leads to another kind of socket is left alone.
func Set(init int, processes Processes, list []Socket) (failed []error) {
	err := netns.Do(netns.Of(init), func() error {
		for _, s := range list {
			if pid, there := processes[s.PID]; there {
				for _, err := range s.set(pid) {
					failed = append(failed, fmt.Errorf("%s does not get back its %w", s, err))
				}
			}
		}
		return nil
	})
	if err != nil {
		failed = append(failed, err)
	}
	return failed
}

func (s Socket) set(pid int) (errs []error) {
	pidfd, err := unix.PidfdOpen(pid, 0)
	if err != nil {
		return nil // it has ended
	}
	defer unix.Close(pidfd)
	fd, err := unix.PidfdGetfd(pidfd, s.FD, 0)
	if errors.Is(err, unix.EBADF) || errors.Is(err, unix.ESRCH) {
		return nil // closed already
	}
	if err != nil {
		return []error{fmt.Errorf("options: %w", err)}
	}
	defer unix.Close(fd)
	k, ok := kindOf(fd)
	if !ok || k != (kind{s.Domain, s.Type, s.Protocol}) {
		return nil
	}
	for _, o := range options {
		if v, given := s.Options[o.name]; given && o.of(k) {
			if err := unix.SetsockoptInt(fd, o.level, o.code, v); err != nil {
				errs = append(errs, fmt.Errorf("%s: %w", o.name, err))
			}
		}
	}
	if s.Congestion != "" && tcp(k) {
		if err := setCongestion(fd, s.Congestion); err != nil {
			errs = append(errs, fmt.Errorf("TCP_CONGESTION %s: %w", s.Congestion, err))
		}
	}
	if s.Interface != "" && packets6(k) {
		i, err := net.InterfaceByName(s.Interface)
		if err == nil {
			err = unix.SetsockoptInt(fd, unix.IPPROTO_IPV6, unix.IPV6_MULTICAST_IF, i.Index)
		}
		if err != nil {
			errs = append(errs, fmt.Errorf("IPV6_MULTICAST_IF %s: %w", s.Interface, err))
		}
	}
	for _, g := range s.Groups {
		if err := join(fd, g); err != nil && !errors.Is(err, unix.EADDRINUSE) { // it is a member already
			errs = append(errs, fmt.Errorf("group %s at %s: %w", g.Address, g.Interface, err))
		}
	}
	return errs
}

// setCongestion loads no module, as the kernel would for root.
func setCongestion(fd int, name string) error {
	available, err := os.ReadFile("/proc/sys/net/ipv4/tcp_available_congestion_control")
	if err != nil {
		return err
	}
	if !slices.Contains(strings.Fields(string(available)), name) {
		return unix.ENOENT
	}
	return unix.SetsockoptString(fd, unix.IPPROTO_TCP, unix.TCP_CONGESTION, name)
}
