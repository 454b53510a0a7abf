package linux

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
)

// Namespace is one link of /proc/PID/ns.
type Namespace struct {
	Type       string
	Inode      uint64
	SharedWith string // host, the name of another process, or empty
}

// Process is one that may share namespaces with another.
type Process struct {
	Name string
	PID  int
}

// Namespaces returns the namespaces of a process. The host's are those that
// this program runs in; others are known by the name of a process in them.
func Namespaces(pid int, others []Process) ([]Namespace, error) {
	own, err := namespaceLinks(proc(pid, "ns"))
	if err != nil {
		return nil, err
	}
	host, err := namespaceLinks("/proc/self/ns")
	if err != nil {
		return nil, err
	}
	sharers := map[string]string{}
	for kind, link := range own {
		if link == host[kind] {
			continue
		}
		for _, o := range others {
			if NamespaceLink(o.PID, kind) == link { // empty if it has ended meanwhile
				sharers[link] = o.Name
			}
		}
	}
	var list []Namespace
	for _, kind := range [...]string{"cgroup", "ipc", "mnt", "net", "pid", "time", "user", "uts"} {
		link, ok := own[kind]
		if !ok {
			continue
		}
		n := Namespace{Type: kind, SharedWith: sharers[link]}
		if _, err := fmt.Sscanf(link, kind+":[%d]", &n.Inode); err != nil {
			return nil, fmt.Errorf("namespace link %q: %w", link, err)
		}
		if host[kind] == link {
			n.SharedWith = "host"
		}
		list = append(list, n)
	}
	return list, nil
}

// namespaceLinks maps the types of namespaces to their links.
func namespaceLinks(dir string) (map[string]string, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	out := map[string]string{}
	for _, e := range entries {
		if link, err := os.Readlink(filepath.Join(dir, e.Name())); err == nil {
			out[e.Name()] = link
		}
	}
	return out, nil
}

// NamespaceLink returns the kernel's name of a process's namespace of a type
// (net, pid, ...), like net:[4026531840]; empty when there is no such process.
func NamespaceLink(pid int, kind string) string {
	link, _ := os.Readlink(proc(pid, "ns/"+kind))
	return link
}

// Sharing returns the pids of all processes, the given one among them, that are
// in its namespace of a type.
func Sharing(pid int, kind string) []int {
	want := NamespaceLink(pid, kind)
	if want == "" {
		return nil
	}
	var pids []int
	for _, p := range PIDs() {
		if NamespaceLink(p, kind) == want {
			pids = append(pids, p)
		}
	}
	return pids
}

// PIDs returns all processes that this program can see.
func PIDs() []int {
	dir, err := os.Open("/proc")
	if err != nil {
		return nil
	}
	defer dir.Close()
	names, _ := dir.Readdirnames(-1) // what was read before an error
	var pids []int
	for _, name := range names {
		if pid, err := strconv.Atoi(name); err == nil {
			pids = append(pids, pid)
		}
	}
	return pids
}
