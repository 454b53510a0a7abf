package cli

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/checkpointctl/checkpointctl/internal/checkpoint"
	"github.com/checkpointctl/checkpointctl/internal/criu"
	"github.com/checkpointctl/checkpointctl/internal/docker"
	"github.com/checkpointctl/checkpointctl/internal/metadata"
	"github.com/checkpointctl/checkpointctl/internal/restore"
)

// begin shows a task on the terminal, if there is one and the user wants to see it. All
// that can be done with a task can be done with the nil that is returned otherwise.
func (d *deps) begin(name, state string) *task {
	if t, ok := d.errOut.(terminal); ok && !d.json && !d.quiet && os.Getenv("TERM") != "dumb" {
		return t.show.begin(name, state)
	}
	return nil
}

// shown returns the task of a name, nil if none is shown.
func (d *deps) shown(name string) *task {
	if t, ok := d.errOut.(terminal); ok {
		return t.show.find(name)
	}
	return nil
}

// task is something that is being done, and its line on a terminal.
type task struct {
	show        *display
	name, state string
	since       time.Time // of the state
	done, total int64     // bytes; 0 if they are not known
	ask         func() int64
	images      string // of a checkpoint under way
	memory      int64
	rounds      []criu.Round
}

// end takes the line away.
func (t *task) end() {
	if t != nil {
		t.show.remove(t)
	}
}

// rename turns to something else, and begins to count anew.
func (t *task) rename(name string) {
	if t != nil {
		t.show.mu.Lock()
		defer t.show.mu.Unlock()
		t.name = name
		t.enter(t.state, 0)
	}
}

// at says what is being done, and with how many bytes. Without a state that stays as it
// is.
func (t *task) at(state string, done, total int64) {
	if t == nil {
		return
	}
	t.show.mu.Lock()
	defer t.show.mu.Unlock()
	if state != "" && state != t.state {
		t.enter(state, 0)
	}
	t.done, t.total, t.ask = done, total, nil
}

// bytes is at for what knows only the bytes.
func (t *task) bytes(state string) func(done, total int64) {
	if t == nil {
		return nil
	}
	return func(done, total int64) { t.at(state, done, total) }
}

// enter begins a state. The display's lock is held.
func (t *task) enter(state string, total int64) {
	t.state, t.since, t.done, t.total, t.ask = state, t.show.now(), 0, total, nil
}

// expect notes how much memory the container has, of which a checkpoint with a parent
// writes only what changed.
func (t *task) expect(c docker.Container, parent string) {
	if t != nil && parent == "" {
		t.memory = checkpoint.Expected(c)
	}
}

// checkpointing shows what a checkpoint has come to.
func (t *task) checkpointing(e checkpoint.Event) {
	if t == nil {
		return
	}
	t.show.mu.Lock()
	defer t.show.mu.Unlock()
	switch e.State {
	case checkpoint.StateRunning:
		t.images = e.Images
		t.dumping("running", t.memory)
	case checkpoint.StateRound:
		t.rounds = append(t.rounds[:min(len(t.rounds), e.Round.Number-1)], *e.Round) // it may be another try
		next := fmt.Sprintf("round %d", e.Round.Number+1)
		if e.Stop != "" {
			next = string(e.Stop)
		}
		t.dumping(fmt.Sprintf("running, %s, expected downtime %s", next, millis(e.Round.Expected)), int64(e.Round.Stats.PagesWritten)*int64(os.Getpagesize()))
	case checkpoint.StateFrozen:
		t.dumping("frozen", t.total)
	case checkpoint.StateThawed:
		t.enter("running again, checksums", 0)
	case checkpoint.StateStopped:
		t.enter("stopped, checksums", 0)
	}
}

// dumping begins a state in which CRIU writes about so many bytes.
func (t *task) dumping(state string, total int64) {
	t.enter(state, total)
	images, round := t.images, len(t.rounds)+1
	t.ask = func() int64 { return checkpoint.Dumped(images, round) }
}

// restoring shows what the restore of a checkpoint has come to.
func (t *task) restoring(e restore.Event) {
	if t == nil {
		return
	}
	t.show.mu.Lock()
	defer t.show.mu.Unlock()
	t.name = e.Container + "/" + e.Checkpoint
	t.enter(e.State, e.Progress.Bytes)
	t.ask = e.Progress.Done
}

// widestBar is how wide a bar may get, and narrowestBar how wide it must be to be of use.
const (
	widestBar    = 30
	narrowestBar = 8
)

// line says what is being done: with a bar, if it is known how much there is to do and
// the line may be that wide.
func (t *task) line(now time.Time, width int) string {
	took := now.Sub(t.since)
	rate := size(int64(float64(t.done)/max(took.Seconds(), 0.001))) + "/s"
	text := t.name + ": " + t.state
	switch {
	case t.total <= 0 && t.done == 0:
		return fmt.Sprintf("%s, %s", text, took.Truncate(100*time.Millisecond))
	case t.total <= 0:
		return fmt.Sprintf("%s, %s, %s", text, size(t.done), rate)
	}
	done := min(t.done, t.total) // the total may be a guess
	figures := fmt.Sprintf("%3d%%, %s of %s, %s", 100*done/t.total, size(done), size(t.total), rate)
	bar := min(width-len(text)-len(figures)-4, widestBar)
	if bar < narrowestBar {
		return text + " " + figures
	}
	full := int(int64(bar) * done / t.total)
	return fmt.Sprintf("%s [%s%s] %s", text, strings.Repeat("=", full), strings.Repeat(" ", bar-full), figures)
}

// details are the rounds so far.
func (t *task) details() []string {
	if t.rounds == nil {
		return nil
	}
	var b bytes.Buffer
	_ = table(&b, func(w io.Writer) {
		fmt.Fprint(w, roundsHead)
		for _, r := range t.rounds {
			printRound(w, r.Number, r.Stats.PagesWritten, r.Stats.Downtime(), r.Took, r.Expected)
		}
	})
	return strings.Split(strings.TrimSuffix(b.String(), "\n"), "\n")
}

const roundsHead = "ROUND\tDIRTY PAGES\tWRITTEN\tFROZEN\tTOOK\tEXPECTED DOWNTIME\n"

func printRound(w io.Writer, number int, written uint64, frozen, took, expected time.Duration) {
	fmt.Fprintf(w, "%d\t%d\t%s\t%s\t%s\t%s\n", number, written, pages(written), frozen, took.Truncate(time.Microsecond), expected.Truncate(time.Microsecond))
}

// printRounds shows the rounds of a record, if it has some.
func printRounds(w io.Writer, r metadata.Record) error {
	if r.PreDump == nil {
		return nil
	}
	err := table(w, func(w io.Writer) {
		fmt.Fprint(w, roundsHead)
		for _, n := range r.PreDump.Rounds {
			printRound(w, n.Number, n.PagesWritten, micros(int64(n.FreezingUS+n.FrozenUS)), micros(n.TookUS), micros(n.ExpectedUS))
		}
	})
	if err != nil {
		return err
	}
	fmt.Fprintf(w, "stopped after round %d, %s\n", len(r.PreDump.Rounds), r.PreDump.Explanation)
	if r.Kind != metadata.KindPreDump {
		fmt.Fprintf(w, "downtime: expected %s, measured %s, %d pages written\n",
			micros(r.PreDump.ExpectedUS), micros(r.PreDump.MeasuredUS), r.Stats.PagesWritten)
	}
	return nil
}

func pages(n uint64) string { return size(int64(n) * int64(os.Getpagesize())) }

func millis(d time.Duration) string { return d.Round(100 * time.Microsecond).String() }
