//go:build e2e && measure

package e2e

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// TestMeasureClones prints what twenty lazily restored clones of a container with 512 MiB
// of memory take on the disk, and how long each takes to run.
func TestMeasureClones(t *testing.T) {
	const clones, beats = 20, "/beats"
	b := start(t, baseImage, "/workload", "tick", "file="+beats, "memory=512", "every=10")
	if !until(60*time.Second, func() bool { return strings.Contains(b.logs("1"), "ticking") }) {
		t.Fatal("the memory does not get full")
	}
	b.checkpoint("--leave-running=false")
	one := diskUsage(t, b.store)
	var made []*box
	for i := range clones {
		made = append(made, b.named(fmt.Sprintf("c-%d", i+1)))
	}
	last := time.Now()
	b.must(0, "restore", b.name, "--name", b.name+"-c", "--clones", strconv.Itoa(clones), "--lazy-pages")
	layers := int64(0)
	var took []time.Duration
	for _, n := range made {
		state := n.inspect().State
		file := fmt.Sprintf("/proc/%d/root%s", state.Pid, beats)
		first, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if !until(10*time.Second, func() bool { now, _ := os.ReadFile(file); return !slices.Equal(now, first) }) {
			t.Errorf("%s does not go on", n.name)
		}
		ran, err := time.Parse(time.RFC3339Nano, state.StartedAt)
		if err != nil {
			t.Fatal(err)
		}
		took, last = append(took, ran.Sub(last)), ran
		layers += diskUsage(t, n.inspect().GraphDriver.Data["UpperDir"])
	}
	fmt.Fprintf(os.Stdout, "measure| %d clones | %.3f of the disk of one checkpoint | each runs %d ms after the one before it, the slowest %d ms |\n",
		clones, float64(one+layers)/float64(one), median(took).Milliseconds(), slices.Max(took).Milliseconds())
}

// diskUsage is what du would say, in bytes.
func diskUsage(t *testing.T, dir string) (sum int64) {
	t.Helper()
	err := filepath.WalkDir(dir, func(_ string, e fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := e.Info()
		if st, ok := info.Sys().(*syscall.Stat_t); err == nil && ok {
			sum += st.Blocks * 512
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return sum
}
