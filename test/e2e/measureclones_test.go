//go:build e2e && measure

package e2e

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

// TestMeasureClones prints what twenty lazily restored clones of a container with 512 MiB
// of memory take on the disk, and how long it takes until each goes on.
func TestMeasureClones(t *testing.T) {
	const clones, beats = 20, "/beats"
	b := start(t, baseImage, "/workload", "tick", "file="+beats, "memory=512", "every=10")
	if !until(60*time.Second, func() bool { return strings.Contains(b.logs("1"), "ticking") }) {
		t.Fatal("the memory does not get full")
	}
	b.checkpoint("--leave-running=false")
	one := diskUsage(t, b.store)
	layers := int64(0)
	var took []time.Duration
	for i := range clones {
		n := b.named(fmt.Sprint(i))
		took = append(took, timed(func() {
			n.must(0, "restore", b.name, "--name", n.name, "--lazy-pages")
			file := fmt.Sprintf("/proc/%d/root%s", n.inspect().State.Pid, beats)
			first, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			if !until(10*time.Second, func() bool { now, _ := os.ReadFile(file); return !slices.Equal(now, first) }) {
				t.Errorf("%s does not go on", n.name)
			}
		}))
		layers += diskUsage(t, n.inspect().GraphDriver.Data["UpperDir"])
	}
	fmt.Fprintf(os.Stdout, "measure| %d clones | %.3f of the disk of one checkpoint | goes on after %d ms, the slowest after %d ms |\n",
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
