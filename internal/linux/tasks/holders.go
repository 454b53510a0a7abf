package tasks

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// Holders returns, by its inode, a process for each of the wanted sockets that one
// has. It looks at all processes.
func Holders(wanted map[uint64]bool) map[uint64]Task {
	held := map[uint64]Task{}
	links, _ := filepath.Glob("/proc/[0-9]*/fd/*")
	for _, link := range links {
		target, err := os.Readlink(link)
		inode := File{Target: target}.Socket()
		if err != nil || !wanted[inode] || held[inode].PID != 0 {
			continue
		}
		t := Task{}
		t.PID, _ = strconv.Atoi(strings.Split(link, "/")[2])
		name, _ := os.ReadFile(fmt.Sprintf("/proc/%d/comm", t.PID))
		t.Name = strings.TrimSpace(string(name))
		held[inode] = t
	}
	return held
}
