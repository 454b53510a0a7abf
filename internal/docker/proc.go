package docker

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/checkpointctl/checkpointctl/internal/mounts"
)

// readProc fills in what /proc knows.
func (c *Container) readProc() error {
	proc := filepath.Join("/proc", strconv.Itoa(c.PID))
	f, err := os.Open(filepath.Join(proc, "mountinfo"))
	if err != nil {
		return err
	}
	defer f.Close()
	if c.Mounts, err = mounts.Parse(f); err != nil {
		return err
	}
	data, err := os.ReadFile(filepath.Join(proc, "cgroup"))
	if err != nil {
		return err
	}
	c.Cgroups, c.CgroupMode = parseCgroup(string(data))
	c.Connected = connected(proc)
	c.Namespaces, err = readNamespaces(proc, c.BundlePath)
	return err
}

// parseCgroup reads /proc/PID/cgroup, see cgroups(7).
func parseCgroup(text string) ([]Cgroup, string) {
	var list []Cgroup
	v1, v2 := false, false
	for line := range strings.Lines(text) {
		parts := strings.SplitN(strings.TrimRight(line, "\n"), ":", 3)
		if len(parts) != 3 {
			continue
		}
		if parts[0] == "0" && parts[1] == "" {
			v2 = true
		} else {
			v1 = true
		}
		list = append(list, Cgroup{Controllers: parts[1], Path: parts[2]})
	}
	switch {
	case v1 && v2:
		return list, "hybrid"
	case v2:
		return list, "v2"
	default:
		return list, "v1"
	}
}

// HasConnections asks again what Connected says.
func (c Container) HasConnections() bool {
	return connected(filepath.Join("/proc", strconv.Itoa(c.PID)))
}

// connected says whether the process's network namespace has TCP sockets with
// a peer: in any state but TIME_WAIT, CLOSE and LISTEN, see
// include/net/tcp_states.h.
func connected(proc string) bool {
	for _, file := range [...]string{"tcp", "tcp6"} {
		data, err := os.ReadFile(filepath.Join(proc, "net", file))
		if errors.Is(err, os.ErrNotExist) && file == "tcp6" {
			continue // no IPv6
		}
		if err != nil || hasPeers(string(data)) {
			return true
		}
	}
	return false
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

// readNamespaces compares with the host's, and with those of the containers
// whose bundles lie beside this one's.
func readNamespaces(proc, bundle string) ([]Namespace, error) {
	own, err := namespaceInodes(proc)
	if err != nil {
		return nil, err
	}
	host, err := namespaceInodes("/proc/self")
	if err != nil {
		return nil, err
	}
	sharers := map[string]string{}
	if bundle != "" {
		sharers = otherContainers(bundle)
	}
	var list []Namespace
	for _, kind := range [...]string{"cgroup", "ipc", "mnt", "net", "pid", "time", "user", "uts"} {
		link, ok := own[kind]
		if !ok {
			continue
		}
		n := Namespace{Type: kind}
		if _, err := fmt.Sscanf(link, kind+":[%d]", &n.Inode); err != nil {
			return nil, fmt.Errorf("namespace link %q: %w", link, err)
		}
		if host[kind] == link {
			n.SharedWith = "host"
		} else if id := sharers[link]; id != "" {
			n.SharedWith = "container:" + id
		}
		list = append(list, n)
	}
	return list, nil
}

func namespaceInodes(proc string) (map[string]string, error) {
	entries, err := os.ReadDir(filepath.Join(proc, "ns"))
	if err != nil {
		return nil, err
	}
	out := map[string]string{}
	for _, e := range entries {
		if link, err := os.Readlink(filepath.Join(proc, "ns", e.Name())); err == nil {
			out[e.Name()] = link
		}
	}
	return out, nil
}

// otherContainers maps namespace links to the ID of another container.
func otherContainers(bundle string) map[string]string {
	out := map[string]string{}
	entries, _ := os.ReadDir(filepath.Dir(bundle))
	for _, e := range entries {
		if e.Name() == filepath.Base(bundle) {
			continue
		}
		pid, err := os.ReadFile(filepath.Join(filepath.Dir(bundle), e.Name(), "init.pid"))
		if err != nil {
			continue
		}
		links, err := namespaceInodes(filepath.Join("/proc", strings.TrimSpace(string(pid))))
		if err != nil {
			continue // gone meanwhile
		}
		for _, link := range links {
			out[link] = e.Name()
		}
	}
	return out
}

// Memory is what the processes of a container would take in images, by their
// own accounts: an upper bound, since what they share counts for each.
func (c Container) Memory() (int64, error) {
	own, err := os.Readlink(filepath.Join("/proc", strconv.Itoa(c.PID), "ns/pid"))
	if err != nil {
		return 0, err
	}
	found, err := filepath.Glob("/proc/[0-9]*/ns/pid")
	if err != nil {
		return 0, err
	}
	total := int64(0)
	for _, link := range found {
		if ns, err := os.Readlink(link); err != nil || ns != own {
			continue
		}
		status, err := os.ReadFile(filepath.Join(filepath.Dir(filepath.Dir(link)), "status"))
		if err == nil { // else it has ended
			total += dumpable(string(status))
		}
	}
	return total, nil
}

// dumpable sums up the memory in /proc/PID/status that no file holds,
// proc_pid_status(5).
func dumpable(status string) int64 {
	total := int64(0)
	for line := range strings.Lines(status) {
		f := strings.Fields(line)
		if len(f) == 3 && (f[0] == "RssAnon:" || f[0] == "RssShmem:" || f[0] == "VmSwap:") {
			n, _ := strconv.ParseInt(f[1], 10, 64)
			total += n << 10
		}
	}
	return total
}
