//go:build e2e && measure

package e2e

import (
	"fmt"
	"os"
	"testing"
	"time"
)

// TestMeasureDowntime prints the table of docs/performance.md: see
// scripts/measure-pre-dump.sh.
func TestMeasureDowntime(t *testing.T) {
	const runs = 3
	b := dirty(t, "256", "4")
	if !tracking(t, b) {
		t.Fatal("needs a kernel that tracks dirty pages")
	}
	for _, kind := range []struct {
		name string
		args []string
	}{
		{"plain dump", nil},
		{"1 round", []string{"--pre-dump", "--min-rounds", "1", "--max-rounds", "1"}},
		{"2 rounds", []string{"--pre-dump", "--min-rounds", "2", "--max-rounds", "2"}},
		{"4 rounds", []string{"--pre-dump", "--min-rounds", "4", "--max-rounds", "4"}},
		{"`--max-downtime 500ms`", []string{"--max-downtime", "500ms"}},
	} {
		var gaps, frozen []time.Duration
		var last chain
		for range runs {
			b.await(b.count())
			b.gap()
			last = b.chain(append([]string{"checkpoint", b.name, "--name", "measured"}, kind.args...)...)
			gaps = append(gaps, b.gap())
			frozen = append(frozen, time.Duration(last.Stats.FreezingUS+last.Stats.FrozenUS)*time.Microsecond)
			b.must(0, "rm", b.name, "measured")
		}
		fmt.Fprintf(os.Stdout, "measure| %s | %d | %d | %d ms | %d ms |\n", kind.name, len(last.PreDump.Rounds),
			last.Stats.PagesWritten, median(gaps).Milliseconds(), median(frozen).Milliseconds())
	}
}
