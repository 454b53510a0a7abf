package criu

import (
	"fmt"
	"os"
	"time"
)

// Policy says when pre-dumps have done what they can. Zero values set no limit.
type Policy struct {
	MaxDowntime time.Duration // the goal
	MaxRounds   int
	MaxTime     time.Duration
	MinPages    uint64 // so few dirty pages are not worth another round
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
	n := len(rounds)
	if n == 0 {
		return ""
	}
	last := rounds[n-1]
	dirty, present := last.Stats.PagesWritten, last.Stats.PagesWritten+last.Stats.PagesSkipped
	before := dirty // pages of the round before
	if n > 1 {
		before = rounds[n-2].Stats.PagesWritten
	}
	var took time.Duration
	for _, r := range rounds {
		took += r.Took
	}
	switch {
	case p.MaxDowntime > 0 && Expect(rounds) <= p.MaxDowntime:
		return DowntimeMet
	case n > 1 && dirty <= p.MinPages:
		return Converged
	// A tenth more or less is noise.
	case n > 1 && (dirty*10 > before*11 || dirty*10 >= present*9):
		return Growing
	case n > 1 && dirty*10 >= before*9:
		return Converged
	case p.MaxRounds > 0 && n >= p.MaxRounds:
		return MaxRounds
	case p.MaxTime > 0 && took+last.Took > p.MaxTime:
		return MaxTime
	case last.FreeBytes < 2*int64(dirty)*int64(os.Getpagesize()):
		return Space
	}
	return ""
}

// Expect is the downtime of a final dump that comes after these rounds. It
// will write, with the tasks frozen, as many pages as the last round found
// dirty; that one wrote them after it had let the tasks run on.
func Expect(rounds []Round) time.Duration {
	if len(rounds) == 0 {
		return 0
	}
	s := rounds[len(rounds)-1].Stats
	return s.Downtime() + time.Duration(s.MemWriteUS)*time.Microsecond
}

// Explain says in words why the rounds ended, and whether the goal is met.
func (p Policy) Explain(stop Stop, expected time.Duration) string {
	text := fmt.Sprintf("%s: %s", stop, stop.Words())
	if p.MaxDowntime > 0 && stop != DowntimeMet {
		text += fmt.Sprintf("; expected downtime %v, above the goal of %v", expected.Round(time.Millisecond/10), p.MaxDowntime)
	}
	return text
}
