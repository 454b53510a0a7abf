package checkpoint

import (
	"time"

	"github.com/checkpointctl/checkpointctl/internal/criu"
)

// What a checkpoint under way comes to.
const (
	StateRunning = "running"  // the checkpoint has its name, and the container runs
	StateRound   = "pre-dump" // a round is done
	StateFrozen  = "frozen"   // CRIU begins to dump
	StateThawed  = "thawed"   // dumped, and the container runs on
	StateStopped = "stopped"  // dumped, and the container was killed for it
)

// Event is a state that a checkpoint has come to.
type Event struct {
	Container, Checkpoint, State string
	// Took is how long a round took, or how long the container was frozen.
	Took  time.Duration
	Round *criu.Round // of StateRound
}

// happened tells of an event, if somebody listens.
func (m *Creator) happened(e Event) {
	if m.Happened != nil {
		m.Happened(e)
	}
}

// dumped tells that a container alone runs on, or does not. Groups say it when they
// thaw.
func (m *Creator) dumped(req Request, checkpoint string, frozen time.Duration) {
	switch {
	case req.RoundsOnly:
	case !req.Options.LeaveRunning:
		m.happened(Event{Container: req.Container.Name, Checkpoint: checkpoint, State: StateStopped})
	case req.member == nil:
		m.happened(Event{Container: req.Container.Name, Checkpoint: checkpoint, State: StateThawed, Took: frozen})
	}
}
