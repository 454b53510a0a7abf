package criu

import (
	"fmt"
	"os"
	"time"
)

// Policy says when pre-dumps have done what they can. Zero values set no limit.
type Policy struct {
	MaxDowntime time.Duration // the goal
	MinRounds   int           // so many, whatever they find
	MaxRounds   int
	MaxTime     time.Duration
	MinPages    uint64 // so few dirty pages are not worth another round
	// Fixed is what an earlier final dump took beyond memory (Stats.Fixed),
	// which no round can tell; 0 if there was none.
	Fixed time.Duration
}

// Stop is why no further round is made.
type Stop string

// The reasons to stop.
const (
	DowntimeMet Stop = "downtime-met"
	Converged   Stop = "converged"
	Growing     Stop = "growing"
	MaxRounds   Stop = "max-rounds"
	MaxTime     Stop = "max-time"
	Space       Stop = "space"
)

// Words tell a reader what the reason means.
func (s Stop) Words() string {
	return map[Stop]string{
		DowntimeMet: "the final dump is expected to meet the goal",
		Converged:   "another round would not make the final dump shorter",
		Growing:     "the application dirties memory as fast as it is copied",
		MaxRounds:   "the limit of rounds is reached",
		MaxTime:     "another round would take longer than allowed",
		Space:       "there is no space for another round and the final dump",
	}[s]
}

// Next returns why to stop after these rounds, or nothing to make another.
func (p Policy) Next(rounds []Round) Stop {
	if len(rounds) == 0 {
		return ""
	}
	if len(rounds) >= p.MinRounds {
		if stop := p.verdict(rounds); stop != "" {
			return stop
		}
	}
	return p.limit(rounds)
}

// verdict judges by what the rounds found.
func (p Policy) verdict(rounds []Round) Stop {
	n := len(rounds)
	if p.MaxDowntime > 0 && p.Expect(rounds) <= p.MaxDowntime {
		return DowntimeMet
	}
	if n == 1 {
		return "" // it wrote what there was, not what changed
	}
	last := rounds[n-1].Stats
	dirty, before := last.PagesWritten, rounds[n-2].Stats.PagesWritten
	switch {
	case dirty <= p.MinPages:
		return Converged
	// A tenth more or less is noise.
	case dirty*10 > before*11, dirty*10 >= (dirty+last.PagesSkipped)*9:
		return Growing
	case dirty*10 >= before*9:
		return Converged
	}
	return ""
}

// limit judges by what the rounds cost.
func (p Policy) limit(rounds []Round) Stop {
	last := rounds[len(rounds)-1]
	var took time.Duration
	for _, r := range rounds {
		took += r.Took
	}
	switch {
	case p.MaxRounds > 0 && len(rounds) >= p.MaxRounds:
		return MaxRounds
	case p.MaxTime > 0 && took+last.Took > p.MaxTime:
		return MaxTime
	// Another round and the final dump may each write as much.
	case last.FreeBytes < 2*int64(last.Stats.PagesWritten)*int64(os.Getpagesize()):
		return Space
	}
	return ""
}

// Expect is the downtime of a final dump that comes after these rounds. It
// will copy and write, with the tasks frozen, as many pages as the last round
// found dirty; that one wrote them after it had let the tasks run on.
func (p Policy) Expect(rounds []Round) time.Duration {
	if len(rounds) == 0 {
		return 0
	}
	s := rounds[len(rounds)-1].Stats
	return max(p.Fixed, s.Fixed()) + time.Duration(s.MemDumpUS+s.MemWriteUS)*time.Microsecond
}

// Explain says in words why the rounds ended, and whether the goal is met.
func (p Policy) Explain(stop Stop, expected time.Duration) string {
	text := fmt.Sprintf("%s: %s", stop, stop.Words())
	if p.MaxDowntime > 0 && stop != DowntimeMet {
		text += fmt.Sprintf("; expected downtime %v, above the goal of %v", expected.Round(time.Millisecond/10), p.MaxDowntime)
	}
	return text
}
