package cli

import (
	"fmt"
	"io"
	"os"
	"time"

	"golang.org/x/term"

	"github.com/checkpointctl/checkpointctl/internal/criu"
	"github.com/checkpointctl/checkpointctl/internal/metadata"
)

// progress is where a line may be rewritten: a terminal, or nowhere.
func (d *deps) progress() io.Writer {
	if f, ok := d.errOut.(*os.File); ok && !d.json && term.IsTerminal(int(f.Fd())) {
		return f
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
	fmt.Fprintf(p.out, "\r\x1b[Kround %d: %d dirty pages, %s, frozen %s, expected downtime %s", r.Number,
		r.Stats.PagesWritten, pages(r.Stats.PagesWritten), millis(r.Stats.Downtime()), millis(r.Expected))
	if stop != "" {
		fmt.Fprintf(p.out, ", %s", stop)
	}
}

// end makes room for what is printed next.
func (p *rounds) end() {
	if p.live {
		fmt.Fprint(p.out, "\r\x1b[K")
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
