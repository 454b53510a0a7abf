package cli

import (
	"bytes"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/checkpointctl/checkpointctl/internal/criu"
	"github.com/checkpointctl/checkpointctl/internal/criuimg"
)

// One line is rewritten, and gone at the end.
func TestRoundsOnATerminal(t *testing.T) {
	var out bytes.Buffer
	p := &rounds{out: &out}
	p.round(criu.Round{Number: 1, Stats: criuimg.Stats{FreezingUS: 400, FrozenUS: 600, PagesWritten: 256}, Expected: 2 * time.Millisecond}, "")
	p.round(criu.Round{Number: 2, Expected: time.Millisecond}, criu.Converged)
	p.end()
	want := "\r\x1b[Kround 1: 256 dirty pages, 1MiB, frozen 1ms, expected downtime 2ms" +
		"\r\x1b[Kround 2: 0 dirty pages, 0B, frozen 0s, expected downtime 1ms, converged\r\x1b[K"
	if out.String() != want {
		t.Errorf("got %q", out.String())
	}
}

func TestNoProgressWithoutATerminal(t *testing.T) {
	if newDeps(io.Discard, &bytes.Buffer{}).progress() != io.Discard {
		t.Error("a buffer is taken for a terminal")
	}
}

// Lines stay below what is printed meanwhile, and end with their container.
func TestBoard(t *testing.T) {
	var out bytes.Buffer
	b := newBoard(&out)
	b.set("web", "dumping")
	b.set("db", "dumping")
	b.print(func() { out.WriteString("web/x\n") })
	b.set("web", "")
	b.set("db", "")
	want := "web: dumping\n" +
		"\x1b[1A\x1b[Jweb: dumping\ndb: dumping\n" +
		"\x1b[2A\x1b[Jweb/x\nweb: dumping\ndb: dumping\n" +
		"\x1b[2A\x1b[Jdb: dumping\n" +
		"\x1b[1A\x1b[J"
	if out.String() != want {
		t.Errorf("got %q", out.String())
	}
}

func TestTransfer(t *testing.T) {
	var out bytes.Buffer
	p := newTransfer(&out, "exporting web/x")
	p.set(1<<20, 4<<20)
	p.set(2<<20, 4<<20) // too soon
	p.end()
	if got := out.String(); !strings.HasPrefix(got, "\r\x1b[Kexporting web/x: 25%, 1MiB of 4MiB, ") || strings.Count(got, "\r\x1b[K") != 2 {
		t.Errorf("got %q", got)
	}
	if got := transferLine("x", 0, 0, 0); got != "x: 0%, 0B of 0B, 0B/s" {
		t.Errorf("got %q", got)
	}
}
