package main

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

func TestOrderAlternates(t *testing.T) {
	first := map[int]bool{}
	for run := range 10 {
		list := order(5, run)
		if got := slices.Sorted(slices.Values(list)); !slices.Equal(got, []int{0, 1, 2, 3, 4}) {
			t.Errorf("run %d: %v", run, list)
		}
		first[list[0]] = true
	}
	if len(first) < 3 {
		t.Errorf("begins with %v only", first)
	}
}

func TestMedianIsNotMovedByOneBadRun(t *testing.T) {
	var s Series
	for _, n := range []int64{5, 900, 4} {
		s.add(sample{total: n})
	}
	if n, runs := s.median(total); n != 5 || runs != 3 {
		t.Errorf("%d of %d runs", n, runs)
	}
}

func results() Results {
	c := Case{Name: "512-MiB", Bytes: 512 << 20, Series: []Series{
		{Peer: ours, Op: "checkpoint"}, {Peer: bare, Op: "checkpoint"},
		{Peer: docker, Op: "checkpoint", Refused: "connected TCP socket"}, {Peer: runc, Op: "checkpoint"},
		{Peer: unsynced, Op: "checkpoint"},
	}}
	for range 5 {
		c.Series[0].add(sample{total: 1_000_000, gap: 400_000, peak: 20 << 20})
		c.Series[1].add(sample{total: 900_000, synced: 1_200_000, gap: 390_000})
	}
	c.Series[3].add(sample{total: 2_000_000})
	c.Series[4].add(sample{total: 980_000})
	return Results{Cases: []Case{c}}
}

func TestReportOfALookIntoCheckpoints(t *testing.T) {
	memory := Case{Name: "look-into-2048-MiB", Bytes: 2 << 30, Series: []Series{{Peer: ours, Op: "search"}, {Peer: ours, Op: "diff"}, {Peer: other, Op: "search"}}}
	memory.Series[0].add(sample{total: 1_000_000, peak: 65 << 20})
	memory.Series[1].add(sample{total: 6_000_000, peak: 20 << 20})
	memory.Series[2].add(sample{total: 300_000_000})
	processes := Case{Name: "look-into-200-processes", Series: []Series{{Peer: ours, Op: "ps"}}}
	processes.Series[0].add(sample{total: 200_000, peak: 20 << 20})
	text := markdown(Results{Absent: map[string]string{crit: "not on PATH"}, Cases: []Case{memory, processes}})
	for _, want := range []string{
		"| look-into-2048-MiB | 1 | 1000 ms | 65MiB | 6000 ms | 20MiB | – | 300.0 s | – | – | – |", "| look-into-200-processes | 1 | – | – | – | – | 200 ms | – | – | – | – |",
		"| look-into-2048-MiB | search: 1 GB each second | 2147 ms | 1000 ms | met |", "| look-into-2048-MiB | search: peak memory | 64MiB | 65MiB | **missed** |",
		"| look-into-2048-MiB | difference of two of 2 GiB: 5 s | 5000 ms | 6000 ms | **missed** |", "| look-into-200-processes | processes: 0.3 s | 300 ms | 200 ms | met |",
		"- crit: not on PATH",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("lacks %q:\n%s", want, text)
		}
	}
}

func TestIsNothing(t *testing.T) {
	for script, want := range map[string]bool{"exit 1": true, "echo no >&2; exit 1": false, "exit 2": false} {
		if _, err := execute(t.Context(), "sh", "-c", script); isNothing(err) != want {
			t.Errorf("%s: %v", script, err)
		}
	}
}

func TestReportSaysWhatWasMetAndRefused(t *testing.T) {
	text := markdown(results())
	for _, want := range []string{
		"| 512-MiB | 5 | 1000 ms | 1200 ms | – | 980 ms (1) | 900 ms | – | 2000 ms (1) | – | refused |",
		"- 512-MiB, checkpoint, docker checkpoint: connected TCP socket",
		"| 512-MiB | time: 1.05 of `criu dump` + sync, plus 30 ms | 1290 ms | 1000 ms | met |",
		"| 512-MiB | time with `--sync none`: 1.05 of `criu dump`, plus 30 ms | 975 ms | 980 ms | **missed** |",
		"| 512-MiB | gap: 1.05 of `criu dump` | 409 ms | 400 ms | met |",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("lacks %q:\n%s", want, text)
		}
	}
	if strings.Contains(text, "a tenth of Docker's") {
		t.Error("compares with figures that Docker did not give")
	}
}

func TestChartDrawsABarForEachFigure(t *testing.T) {
	if got := strings.Count(chart(results()), `height="10" fill=`) - len(bars); got != 5 {
		t.Errorf("%d bars, want 3 times and 2 gaps", got)
	}
}

func TestReportOfGrowth(t *testing.T) {
	c := Case{Name: "growth-of-memory", About: "MiB of incompressible memory", Version: "v2"}
	for i, size := range []int{64, 256, 1024} {
		for peer, us := range map[string]int64{ours: 200_000 << (2 * i), bare: 100_000 << i} {
			s := Series{Peer: peer, Op: "growth", Size: size}
			s.add(sample{total: us, gap: 50_000})
			c.Series = append(c.Series, s)
		}
	}
	r := Results{Cases: []Case{c}}
	text := markdown(r)
	for _, want := range []string{
		"growth-of-memory: checkpointctl v2.",
		"| growth-of-memory | 256 | 800 ms | – | 200 ms | 50 ms | 50 ms |",
		"| growth-of-memory | **exponent** | **1.00** | – | **0.50** | **0.00** | **0.00** |",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("lacks %q:\n%s", want, text)
		}
	}
	if got := strings.Count(chart(r), "<polyline"); got != 2 {
		t.Errorf("%d curves, want one for each peer", got)
	}
}

func TestBusyMachineIsNotJudged(t *testing.T) {
	before, now := parseTicks("cpu  100 0 50 800 10 0 5 35 0 0"), parseTicks("cpu  140 0 60 830 10 0 5 55 0 0")
	if got := now.since(before); got != 0.3 {
		t.Errorf("%v idle, want 0.3: 30 of 100 ticks, steal counted in", got)
	}
	r := results()
	r.Cases[0].Busy = true
	if text := markdown(r); strings.Contains(text, "missed") || !strings.Contains(text, "not judged") {
		t.Error(text)
	}
}

// No figure of the docs is typed by hand.
func TestDocsShowWhatWasMeasured(t *testing.T) {
	_, inside, _, err := readDocs("../docs/performance.md")
	if err != nil {
		t.Fatal(err)
	}
	r, err := load("../docs/performance.json")
	want := ""
	switch {
	case err == nil:
		want = section(r)
	case !errors.Is(err, os.ErrNotExist):
		t.Fatal(err)
	}
	if inside != want {
		t.Error("run go run ./bench -report")
	}
}

func TestReasonIsOneLineWithCRIUsError(t *testing.T) {
	file := filepath.Join(t.TempDir(), "restore.log")
	log := "Error (a): rlimit: Can't setup RLIMIT_NOFILE\n(00.1) Error (b): cannot bind\n(00.2) Error (c): later\n"
	if err := os.WriteFile(file, []byte(log), 0o600); err != nil {
		t.Fatal(err)
	}
	got := reason(errors.New("criu failed for " + strings.Repeat("0f", 32) + "\nlog file: " + file + ": unknown"))
	if want := "criu failed for ID: (00.1) Error (b): cannot bind"; got != want {
		t.Errorf("%q", got)
	}
}
