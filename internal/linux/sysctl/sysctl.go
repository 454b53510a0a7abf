// Package sysctl reads and sets the sysctls of network namespaces.
package sysctl

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"

	"golang.org/x/sys/unix"

	"github.com/checkpointctl/checkpointctl/internal/linux/netns"
)

// Settings are values of sysctls by name. Names are those of sysctl(8):
// net.core.somaxconn, with a slash for a dot in the name of an interface.
type Settings map[string]string

const root = "/proc/sys/"

// pathOf lets no name lead out of the sysctls of networks.
func pathOf(name string) (string, error) {
	path := filepath.Join(root, swap(name))
	if !strings.HasPrefix(path, root+"net/") {
		return "", fmt.Errorf("%q is no sysctl of networks", name)
	}
	return path, nil
}

func swap(name string) string {
	return strings.Map(func(r rune) rune {
		switch r {
		case '.':
			return '/'
		case '/':
			return '.'
		}
		return r
	}, name)
}

// Reader reads the sysctls of network namespaces. It reads those of a new
// namespace once, for all that it compares with them. The zero Reader is ready, and
// several goroutines may use it.
type Reader struct {
	once  sync.Once
	fresh Settings
	err   error
}

// Changed returns the sysctls of the network namespace of a process that differ
// from a new namespace's, and apart from them those of its interfaces that
// differ from the namespace's own default, which a new interface starts with.
// They can be set only while the interface is there. The sysctls that belong to
// the whole machine are not among them. It takes some milliseconds.
func (r *Reader) Changed(pid int) (namespace, interfaces Settings, err error) {
	var both sync.WaitGroup
	both.Go(r.readFresh)
	var own Settings
	err = netns.Do(netns.Of(pid), func() (err error) { own, err = read(); return err })
	both.Wait()
	if err := errors.Join(err, r.err); err != nil {
		return nil, nil, fmt.Errorf("reading sysctls: %w", err)
	}
	namespace, interfaces = compare(own, r.fresh)
	return namespace, interfaces, nil
}

func (r *Reader) readFresh() {
	r.once.Do(func() {
		r.err = netns.Fresh(func() (err error) { r.fresh, err = read(); return err })
	})
}

// read returns all that can be read and written in the thread's namespace. What
// is not the namespace's own can be read there at most.
func read() (Settings, error) {
	r := reading{found: Settings{}, buf: make([]byte, 4096)}
	return r.found, r.dir(unix.AT_FDCWD, root+"net", "net")
}

type reading struct {
	found Settings
	buf   []byte
}

// dir reads a directory, whose name begins those of its sysctls. Paths are relative to
// the directory: the kernel takes locks for each name in a path below /proc/sys.
func (r *reading) dir(parent int, path, name string) error {
	fd, err := unix.Openat(parent, path, unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return gone(&fs.PathError{Op: "open", Path: name, Err: err})
	}
	d := os.NewFile(uintptr(fd), name)
	defer d.Close()
	entries, err := d.ReadDir(-1)
	if err != nil {
		return gone(err)
	}
	for _, e := range entries {
		if err := r.entry(fd, e, name+"."+swap(e.Name())); err != nil {
			return err
		}
	}
	return nil
}

// gone forgives that a directory is not there any more: its interface has gone.
func gone(err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

func (r *reading) entry(dir int, e fs.DirEntry, name string) error {
	if e.IsDir() {
		return r.dir(dir, e.Name(), name)
	}
	if left(name) {
		return nil
	}
	value, err := readFile(dir, e.Name(), r.buf)
	switch {
	case err == nil:
		r.found[name] = value
	case errors.Is(err, unix.EROFS):
		return fmt.Errorf("%s: %w", name, err)
	}
	return nil
}

// left says which sysctls are left out: secrets that the kernel makes, and the
// MTU of IPv6, which follows the interface's own.
func left(name string) bool {
	if name == "net.ipv4.tcp_fastopen_key" || strings.HasSuffix(name, ".stable_secret") {
		return true
	}
	dir, _, ok := ofInterface(name)
	return ok && strings.HasPrefix(dir, "net.ipv6.conf.") && strings.HasSuffix(name, ".mtu")
}

// readFile reads a sysctl that can be written, too: the kernel heeds the mode of
// these files also for root.
func readFile(dir int, path string, buf []byte) (string, error) {
	fd, err := unix.Openat(dir, path, unix.O_RDWR|unix.O_CLOEXEC, 0)
	if err != nil {
		return "", err
	}
	defer func() { _ = unix.Close(fd) }()
	n, err := unix.Pread(fd, buf, 0)
	if err == nil && n == len(buf) {
		buf = make([]byte, 1<<18)
		n, err = unix.Pread(fd, buf, 0)
	}
	if err != nil {
		return "", err
	}
	return normal(string(buf[:n])), nil
}

// normal separates the numbers of a value by one space each, not by tabs.
func normal(value string) string { return strings.Join(strings.Fields(value), " ") }

// ofInterface splits the name of an interface's sysctl, such as
// net.ipv4.conf.eth0.rp_filter, into what comes before and after the interface.
// The loopback interface is as old as its namespace, so it counts as a part of it.
func ofInterface(name string) (before, after string, ok bool) {
	p := strings.Split(name, ".")
	if len(p) != 5 || p[2] != "conf" && p[2] != "neigh" || p[3] == "all" || p[3] == "default" || p[3] == "lo" {
		return "", "", false
	}
	return strings.Join(p[:3], ".") + ".", "." + p[4], true
}

func compare(own, fresh Settings) (namespace, interfaces Settings) {
	namespace, interfaces = Settings{}, Settings{}
	for name, value := range own {
		before, after, ofOne := ofInterface(name)
		if ofOne {
			start, known := own[before+"default"+after]
			if !known { // neigh.default is the machine's; every namespace has a loopback that started with it
				start, known = fresh[before+"lo"+after]
			}
			if known && start != value {
				interfaces[name] = value
			}
		} else if start, known := fresh[name]; known && start != value {
			namespace[name] = value
		}
	}
	return namespace, interfaces
}
