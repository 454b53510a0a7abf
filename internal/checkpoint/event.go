package checkpoint

import (
	"path/filepath"
	"time"

	"github.com/checkpointctl/checkpointctl/internal/criu"
	"github.com/checkpointctl/checkpointctl/internal/criuimg"
	"github.com/checkpointctl/checkpointctl/internal/docker"
	"github.com/checkpointctl/checkpointctl/internal/linux"
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
	Stop  criu.Stop   // of StateRound: why it was the last, empty if another one follows
	// Images is where CRIU writes its images, of StateRunning.
	Images string
}

// Expected returns about how many bytes of memory a dump of the container writes, 0 if
// that cannot be told.
func Expected(c docker.Container) int64 {
	n, err := linux.Memory(c.PID)
	if err != nil {
		return 0
	}
	return n
}

// Dumped returns how many bytes of memory CRIU has written by now: of the final dump
// if that has begun, or else of this round. images is that of the event.
func Dumped(images string, round int) int64 {
	if n := criuimg.PagesSize(images); n > 0 {
		return n
	}
	return criuimg.PagesSize(filepath.Join(images, criu.RoundDir(round)))
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
