package cli

import (
	"bytes"
	"io"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/checkpointctl/checkpointctl/internal/checkpoint"
	"github.com/checkpointctl/checkpointctl/internal/criu"
	"github.com/checkpointctl/checkpointctl/internal/criuimg"
	"github.com/checkpointctl/checkpointctl/internal/restore"
)

func TestNothingIsShownWithoutATerminal(t *testing.T) {
	d := newDeps(io.Discard, &bytes.Buffer{})
	task := d.begin("web", "running")
	if task != nil {
		t.Error("a buffer is taken for a terminal")
	}
	if task.bytes("") != nil {
		t.Error("bytes are counted for nobody")
	}
	task.at("frozen", 1, 2)
	task.checkpointing(checkpoint.Event{State: checkpoint.StateFrozen})
	task.restoring(restore.Event{})
	task.end()
}

func TestLine(t *testing.T) {
	const mib = 1 << 20
	for want, test := range map[string]struct {
		task  task
		width int
	}{
		"web: running, 2s":            {task{state: "running"}, 80},
		"web: frozen, 3MiB, 1.5MiB/s": {task{state: "frozen", done: 3 * mib}, 80},
		"web: frozen [==========                    ]  33%, 1MiB of 3MiB, 512KiB/s": {task{state: "frozen", done: mib, total: 3 * mib}, 100},
		"web: frozen [==      ]  25%, 1MiB of 4MiB, 512KiB/s":                       {task{state: "frozen", done: mib, total: 4 * mib}, 51},
		"web: frozen  25%, 1MiB of 4MiB, 512KiB/s":                                  {task{state: "frozen", done: mib, total: 4 * mib}, 50},
		"web: frozen [=========] 100%, 4MiB of 4MiB, 2.5MiB/s":                      {task{state: "frozen", done: 5 * mib, total: 4 * mib}, 52},
	} {
		test.task.name = "web"
		if got := test.task.line(time.Time{}.Add(2*time.Second), test.width); got != want {
			t.Errorf("got  %q\nwant %q", got, want)
		}
	}
}

// A checkpoint shows what the container does, what CRIU has written, and the rounds.
func TestCheckpointIsShown(t *testing.T) {
	f := newFakeScreen(120, 24)
	web := f.begin("web", "preparing")
	web.memory = 4 << 20
	images := t.TempDir()
	write := func(name string, size int) {
		t.Helper()
		path := filepath.Join(images, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, make([]byte, size), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	shows := func(want string) {
		t.Helper()
		f.clock = f.clock.Add(time.Second)
		f.written()
		f.ask()
		f.lines = nil // as if the screen was empty
		f.draw()
		if got := f.written(); got != want {
			t.Errorf("got:\n%swant:\n%s", got, want)
		}
	}
	web.checkpointing(checkpoint.Event{State: checkpoint.StateRunning, Images: images})
	shows("web: running [                              ]   0%, 0B of 4MiB, 0B/s\n")
	write("pre-dump/1/pages-1.img", 2<<20)
	write("pre-dump/1/core-1.img", 1<<20)
	shows("web: running [===============               ]  50%, 2MiB of 4MiB, 1MiB/s\n")
	round := criu.Round{
		Number: 1, Took: 1500 * time.Millisecond, Expected: 12 * time.Millisecond,
		Stats: criuimg.Stats{FreezingUS: 400, FrozenUS: 600, PagesWritten: uint64((1 << 20) / os.Getpagesize())},
	}
	web.checkpointing(checkpoint.Event{State: checkpoint.StateRound, Round: &round})
	table := "ROUND   DIRTY PAGES   WRITTEN   FROZEN   TOOK   EXPECTED DOWNTIME\n" +
		"1       256           1MiB      1ms      1.5s   12ms\n"
	if os.Getpagesize() == 4096 {
		shows("web: running, round 2, expected downtime 12ms [                              ]   0%, 0B of 1MiB, 0B/s\n" + table)
		round.Number = 2
		web.checkpointing(checkpoint.Event{State: checkpoint.StateRound, Round: &round, Stop: criu.Converged})
		table += "2       256           1MiB      1ms      1.5s   12ms\n"
		shows("web: running, converged, expected downtime 12ms [                              ]   0%, 0B of 1MiB, 0B/s\n" + table)
		web.checkpointing(checkpoint.Event{State: checkpoint.StateFrozen})
		write("pages-1.img", 1<<19)
		shows("web: frozen [===============               ]  50%, 512KiB of 1MiB, 512KiB/s\n" + table)
	}
	web.checkpointing(checkpoint.Event{State: checkpoint.StateThawed})
	web.rounds = nil
	shows("web: running again, checksums, 1s\n")
	web.bytes("")(1<<20, 2<<20)
	shows("web: running again, checksums [===============               ]  50%, 1MiB of 2MiB, 512KiB/s\n")
	web.checkpointing(checkpoint.Event{State: checkpoint.StateStopped})
	shows("web: stopped, checksums, 1s\n")
}

// A restore shows which checkpoint is read, and that Docker is at work.
func TestRestoreIsShown(t *testing.T) {
	f := newFakeScreen(80, 24)
	web := f.begin("web", "preparing")
	web.restoring(restore.Event{Container: "web", Checkpoint: "x", State: restore.StateVerifying})
	web.bytes("")(1, 4)
	f.clock = f.clock.Add(time.Second)
	f.draw()
	web.restoring(restore.Event{Container: "web", Checkpoint: "x", State: restore.StateRestoring})
	f.draw()
	back := restore.Progress{Bytes: 4, Done: func() int64 { return 3 }}
	web.restoring(restore.Event{Container: "web", Checkpoint: "x", State: restore.StateRestoring, Progress: back})
	f.clock = f.clock.Add(time.Second)
	f.ask()
	f.draw()
	want := "web/x: verifying [=======                       ]  25%, 1B of 4B, 1B/s\n\r\x1b[1A\x1b[Jweb/x: restoring, 0s\n" +
		"\r\x1b[1A\x1b[Jweb/x: restoring [======================        ]  75%, 3B of 4B, 3B/s\n"
	if got := f.written(); got != want {
		t.Errorf("got %q", got)
	}
	// The rate is that of the next one alone.
	f.clock = f.clock.Add(time.Hour)
	web.rename("db/x")
	web.bytes("verifying")(1, 4)
	f.clock = f.clock.Add(time.Second)
	f.draw()
	if got := f.written(); got != "\r\x1b[1A\x1b[Jdb/x: verifying [=======                       ]  25%, 1B of 4B, 1B/s\n" {
		t.Errorf("got %q", got)
	}
}
