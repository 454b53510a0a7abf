package criu

import (
	"strings"
	"testing"
	"time"

	"github.com/checkpointctl/checkpointctl/internal/criuimg"
)

const plenty = 1 << 50

// round is one with so many dirty and unchanged pages, that stood still for a
// millisecond and took a second.
func round(dirty, skipped uint64) Round {
	return Round{
		Took: time.Second, FreeBytes: plenty,
		Stats: criuimg.Stats{FreezingUS: 400, FrozenUS: 600, MemDumpUS: 100, MemWriteUS: dirty, PagesWritten: dirty, PagesSkipped: skipped},
	}
}

func TestNext(t *testing.T) {
	all := Policy{MaxDowntime: 2 * time.Millisecond, MaxRounds: 4, MaxTime: time.Minute, MinPages: 64}
	for name, test := range map[string]struct {
		p      Policy
		rounds []Round
		want   Stop
	}{
		"before the first":    {all, nil, ""},
		"the first of much":   {all, []Round{round(65536, 0)}, ""},
		"the first of little": {all, []Round{round(500, 0)}, DowntimeMet},
		"goal met":            {all, []Round{round(65536, 0), round(1000, 64536)}, DowntimeMet},
		"goal just missed":    {all, []Round{round(65536, 0), round(1001, 64535)}, ""},
		"few pages, no goal":  {Policy{MinPages: 64}, []Round{round(65536, 0), round(64, 65472)}, Converged},
		"few pages, first":    {Policy{MinPages: 64}, []Round{round(64, 0)}, ""},
		"plateau":             {all, []Round{round(65536, 0), round(9000, 56536), round(8900, 56636)}, Converged},
		"shrinking":           {all, []Round{round(65536, 0), round(9000, 56536), round(8000, 57536)}, ""},
		"everything dirty":    {all, []Round{round(65536, 0), round(65000, 536)}, Growing},
		"more each round":     {all, []Round{round(65536, 0), round(9000, 56536), round(12000, 53536)}, Growing},
		"continued, plateau":  {Policy{}, []Round{round(1000, 64536), round(990, 64546)}, Converged},
		"rounds used up":      {all, []Round{round(65536, 0), round(30000, 9), round(20000, 45536), round(10000, 55536)}, MaxRounds},
		"time used up":        {Policy{MaxTime: 2500 * time.Millisecond}, []Round{round(65536, 0), round(30000, 35536)}, MaxTime},
		"time left":           {Policy{MaxTime: 3 * time.Second}, []Round{round(65536, 0), round(30000, 35536)}, ""},
		"few, but more told":  {Policy{MinRounds: 3, MinPages: 64}, []Round{round(65536, 0), round(5, 65531)}, ""},
		"as many as told":     {Policy{MinRounds: 3, MinPages: 64}, []Round{round(65536, 0), round(5, 65531), round(6, 65530)}, Converged},
		"told, but limited":   {Policy{MinRounds: 3, MaxRounds: 2}, []Round{round(65536, 0), round(5, 65531)}, MaxRounds},
		"no limits":           {Policy{}, []Round{round(65536, 0), round(30000, 35536)}, ""},
	} {
		if got := test.p.Next(test.rounds); got != test.want {
			t.Errorf("%s: got %q, want %q", name, got, test.want)
		}
	}
	full := round(1000, 0)
	full.FreeBytes = 2*1000*4096 - 1
	if got := (Policy{}).Next([]Round{full}); got != Space {
		t.Errorf("no space: got %q", got)
	}
}

// The final dump stands still as long as the last round did, and writes; or
// longer, if an earlier one is known to have taken more beyond memory.
func TestExpect(t *testing.T) {
	rounds := []Round{round(65536, 0), round(2000, 63536)}
	for fixed, want := range map[time.Duration]time.Duration{
		0: 3 * time.Millisecond, 900 * time.Microsecond: 3 * time.Millisecond, 5 * time.Millisecond: 7100 * time.Microsecond,
	} {
		if got := (Policy{Fixed: fixed}).Expect(rounds); got != want {
			t.Errorf("fixed %v: got %v", fixed, got)
		}
	}
	if got := (Policy{}).Expect(nil); got != 0 {
		t.Errorf("got %v", got)
	}
}

func TestExplain(t *testing.T) {
	p := Policy{MaxDowntime: 50 * time.Millisecond}
	if got := p.Explain(Growing, 80*time.Millisecond); !strings.Contains(got, "above the goal of 50ms") || !strings.Contains(got, "80ms") {
		t.Error(got)
	}
	if got := p.Explain(DowntimeMet, time.Millisecond); strings.Contains(got, "above") {
		t.Error(got)
	}
	for _, s := range []Stop{DowntimeMet, Converged, Growing, MaxRounds, MaxTime, Space} {
		if s.Words() == "" {
			t.Errorf("no words for %s", s)
		}
	}
}
