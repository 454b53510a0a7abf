package cli

import (
	"fmt"
	"io"
	"os"
	"slices"
	"sync"
	"time"

	"golang.org/x/term"

	"github.com/checkpointctl/checkpointctl/internal/criu"
	"github.com/checkpointctl/checkpointctl/internal/metadata"
)

// progress is where a line may be rewritten: a terminal, or nowhere.
func (d *deps) progress() io.Writer {
	if t, ok := d.errOut.(terminal); ok && !d.json {
		return t.file
	}
	return io.Discard
}

// rounds keeps one line about the newest round.
type rounds struct {
	out  io.Writer
	live bool
}

func (p *rounds) round(r criu.Round, stop criu.Stop) {
	p.live = true
	fmt.Fprint(p.out, "\r\x1b[K"+roundLine(r, stop))
}

func roundLine(r criu.Round, stop criu.Stop) string {
	line := fmt.Sprintf("round %d: %d dirty pages, %s, frozen %s, expected downtime %s", r.Number,
		r.Stats.PagesWritten, pages(r.Stats.PagesWritten), millis(r.Stats.Downtime()), millis(r.Expected))
	if stop != "" {
		line += fmt.Sprintf(", %s", stop)
	}
	return line
}

// end makes room for what is printed next.
func (p *rounds) end() {
	if p.live {
		fmt.Fprint(p.out, "\r\x1b[K")
	}
}

// transfer keeps one line about what is read or written.
type transfer struct {
	out         io.Writer
	what        string
	began, last time.Time
}

func newTransfer(out io.Writer, what string) *transfer {
	return &transfer{out: out, what: what, began: time.Now()}
}

func (p *transfer) set(done, total int64) {
	now := time.Now()
	if p.out == io.Discard || now.Sub(p.last) < 100*time.Millisecond {
		return
	}
	p.last = now
	fmt.Fprint(p.out, "\r\x1b[K"+transferLine(p.what, done, total, now.Sub(p.began)))
}

func transferLine(what string, done, total int64, took time.Duration) string {
	rate := float64(done) / max(took.Seconds(), 0.001)
	return fmt.Sprintf("%s: %d%%, %s of %s, %s/s", what, 100*done/max(total, 1), size(done), size(total), size(int64(rate)))
}

// end makes room for what is printed next.
func (p *transfer) end() {
	if !p.last.IsZero() {
		fmt.Fprint(p.out, "\r\x1b[K")
	}
}

// board keeps a line for each container that is being worked on, below all that
// is printed meanwhile.
type board struct {
	out   io.Writer
	width int
	mu    sync.Mutex
	names []string // in the order of their lines
	lines map[string]string
}

func newBoard(out io.Writer) *board {
	b := &board{out: out, width: 80, lines: map[string]string{}}
	if f, ok := out.(*os.File); ok {
		if w, _, err := term.GetSize(int(f.Fd())); err == nil && w > 0 {
			b.width = w
		}
	}
	return b
}

// set changes a container's line; none when it is empty.
func (b *board) set(name, line string) {
	b.print(func() {
		if line == "" {
			b.names = slices.DeleteFunc(b.names, func(n string) bool { return n == name })
		} else if !slices.Contains(b.names, name) {
			b.names = append(b.names, name)
		}
		b.lines[name] = line
	})
}

// print lets f print while the lines are away.
func (b *board) print(f func()) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if n := len(b.names); n > 0 {
		fmt.Fprintf(b.out, "\x1b[%dA\x1b[J", n)
	}
	f()
	for _, name := range b.names {
		line := name + ": " + b.lines[name]
		fmt.Fprintln(b.out, line[:min(len(line), b.width-1)]) // one that wraps would be two
	}
}

// printRounds shows the rounds of a record, if it has some.
func printRounds(w io.Writer, r metadata.Record) error {
	if r.PreDump == nil {
		return nil
	}
	err := table(w, func(w io.Writer) {
		fmt.Fprint(w, "ROUND\tDIRTY PAGES\tWRITTEN\tFROZEN\tTOOK\tEXPECTED DOWNTIME\n")
		for _, n := range r.PreDump.Rounds {
			fmt.Fprintf(w, "%d\t%d\t%s\t%s\t%s\t%s\n", n.Number, n.PagesWritten, pages(n.PagesWritten),
				micros(n.FreezingUS+n.FrozenUS), micros(uint64(n.TookUS)), micros(uint64(n.ExpectedUS)))
		}
	})
	if err != nil {
		return err
	}
	fmt.Fprintf(w, "stopped after round %d, %s\n", len(r.PreDump.Rounds), r.PreDump.Explanation)
	if r.Kind != metadata.KindPreDump {
		fmt.Fprintf(w, "downtime: expected %s, measured %s, %d pages written\n",
			micros(uint64(r.PreDump.ExpectedUS)), micros(uint64(r.PreDump.MeasuredUS)), r.Stats.PagesWritten)
	}
	return nil
}

func pages(n uint64) string { return size(int64(n) * int64(os.Getpagesize())) }

func millis(d time.Duration) string { return d.Round(100 * time.Microsecond).String() }
