package tasks

import (
	"bytes"
	"strings"
)

// deleted ends what the kernel says of a file whose name was removed.
const deleted = " (deleted)"

// Mapping is memory of a System V segment, or of a file whose name was removed.
// Others are left out.
type Mapping struct {
	Path     string    // without the note that it is deleted
	SysV     bool      // a System V segment
	Unlinked *Unlinked // nil for a segment
}

// maps reads /proc/PID/maps, proc_pid_maps(5). A process that ends, or may not be
// read, has none.
func maps(dir *directory) (list []Mapping) {
	data, err := dir.read("maps")
	if err != nil {
		return nil
	}
	var lines [][]byte
	for line := range bytes.Lines(data) {
		// Most lines have no such end, and a process may have thousands.
		if bytes.HasSuffix(line, []byte(deleted+"\n")) {
			lines = append(lines, bytes.Clone(line))
		}
	}
	seen := map[string]bool{}
	for _, line := range lines {
		fields := strings.Fields(string(line))
		at := bytes.IndexByte(line, '/')
		if at < 0 || len(fields) < 6 || seen[fields[3]+fields[4]] {
			continue // a program is mapped in parts
		}
		seen[fields[3]+fields[4]] = true
		name := strings.TrimSuffix(string(line[at:len(line)-1]), deleted)
		switch {
		case strings.HasPrefix(name, "/SYSV"):
			list = append(list, Mapping{Path: name, SysV: true})
		case strings.HasPrefix(name, "/memfd:"), name == "/dev/zero", strings.HasPrefix(name, "/anon_hugepage"):
		default:
			if u := dir.unlinked("map_files/" + fields[0]); u != nil {
				list = append(list, Mapping{Path: name, Unlinked: u})
			}
		}
	}
	return list
}
