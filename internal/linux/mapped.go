package linux

import (
	"os"
	"runtime"
	"slices"
	"strings"
	"sync"

	"golang.org/x/sync/errgroup"
)

// Mapped returns the files that processes have mapped shared and writable, as
// paths in their mount namespaces, sorted. Files without a name are left out, and
// so are processes that are gone.
func Mapped(pids []int) []string {
	var (
		list []string
		mu   sync.Mutex
		all  errgroup.Group
	)
	all.SetLimit(runtime.NumCPU())
	for _, pid := range pids {
		all.Go(func() error {
			maps, _ := os.ReadFile(proc(pid, "maps"))
			found := mappedFiles(string(maps))
			mu.Lock()
			defer mu.Unlock()
			list = append(list, found...)
			return nil
		})
	}
	_ = all.Wait()
	slices.Sort(list)
	return slices.Compact(list)
}

// mappedFiles reads lines of /proc/PID/maps, proc_pid_maps(5).
func mappedFiles(maps string) []string {
	var list []string
	for line := range strings.Lines(maps) {
		_, rest, _ := strings.Cut(line, " ")
		if len(rest) < 4 || rest[1] != 'w' || rest[3] != 's' {
			continue
		}
		at := strings.IndexByte(rest, '/')
		if at < 0 {
			continue
		}
		path := strings.ReplaceAll(strings.TrimSuffix(rest[at:], "\n"), `\012`, "\n")
		if !strings.HasSuffix(path, " (deleted)") {
			list = append(list, path)
		}
	}
	return list
}
