package linux

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// Whatever the kernel writes: one entry a line with three fields, one of three
// modes, and the path shown is one of those listed.
func FuzzParseCgroups(f *testing.F) {
	data, err := os.ReadFile(filepath.Join("testdata", "hybrid.cgroup")) // of a container
	if err != nil {
		f.Fatal(err)
	}
	f.Add(string(data))
	f.Add("0::/system.slice/docker-x.scope\n")
	f.Fuzz(func(t *testing.T, text string) {
		c := parseCgroups(text)
		if len(c.List) > strings.Count(text, "\n")+1 {
			t.Errorf("%d cgroups", len(c.List))
		}
		if !slices.Contains([]string{"v1", "hybrid", "v2"}, c.Mode) {
			t.Errorf("mode %q", c.Mode)
		}
		if p := c.Path(); p != "" && !slices.ContainsFunc(c.List, func(g Cgroup) bool { return g.Path == p }) {
			t.Errorf("path %q is of no cgroup", p)
		}
	})
}

// A connection is seen wherever it stands in the table: to miss one would
// leave the network lock out.
func FuzzHasPeers(f *testing.F) {
	const connection = "   1: 0100007F:0CEA 0100007F:0CEB 01 00000000:00000000 00:00000000 00000000     0        0 20 1\n"
	f.Add("  sl  local_address rem_address   st\n   0: 0100007F:0CEA 00000000:0000 0A 0:0\n")
	f.Fuzz(func(t *testing.T, table string) {
		if table != "" && !strings.HasSuffix(table, "\n") {
			table += "\n"
		}
		if table == "" {
			table = "header\n"
		}
		if !hasPeers(table + connection) {
			t.Errorf("missed the connection below %q", table)
		}
	})
}
