package cli

import (
	"io"
	"time"

	"github.com/sirupsen/logrus"

	"github.com/checkpointctl/checkpointctl/internal/checkpoint"
	"github.com/checkpointctl/checkpointctl/internal/config"
	"github.com/checkpointctl/checkpointctl/internal/metadata"
)

// What a run ends with, as states of a container beside those of package checkpoint.
const (
	stateWritten  = "written"
	statePruned   = "pruned"
	stateRestored = "restored"
	stateFailed   = "failed"
)

// logJSON makes every line on stderr a JSON object, if that is asked for: messages, and
// what containers come to. What else is printed there is for people, and left out.
func (d *deps) logJSON() {
	if d.cfg.LogFormat != config.LogJSON {
		return
	}
	format := &logrus.JSONFormatter{TimestampFormat: time.RFC3339Nano}
	d.log.SetFormatter(format)
	d.log.AddHook(inUTC{})
	d.events = logrus.New()
	d.events.SetFormatter(format)
	d.events.SetOutput(d.log.Out)
	d.events.AddHook(inUTC{})
	d.errOut = io.Discard
}

// inUTC gives messages the time zone of all times in JSON.
type inUTC struct{}

func (inUTC) Levels() []logrus.Level { return logrus.AllLevels }

func (inUTC) Fire(e *logrus.Entry) error {
	e.Time = e.Time.UTC()
	return nil
}

// event tells of a state that a container has come to, whatever the log level. took is
// how long that took, 0 if nothing did.
func (d *deps) event(container, checkpoint, state string, took time.Duration, more logrus.Fields) {
	if d.events == nil {
		return
	}
	fields := logrus.Fields{"container": container, "event": state}
	if checkpoint != "" {
		fields["checkpoint"] = checkpoint
	}
	if took != 0 {
		fields["duration_us"] = took.Microseconds()
	}
	d.events.WithFields(fields).WithFields(more).Info(state)
}

// happened tells and shows what a checkpoint under way has come to.
func (d *deps) happened(e checkpoint.Event) {
	more := logrus.Fields{}
	if e.Round != nil {
		more["round"], more["pages_written"], more["frozen_us"] = e.Round.Number, e.Round.Stats.PagesWritten, e.Round.Stats.Downtime().Microseconds()
	}
	d.event(e.Container, e.Checkpoint, e.State, e.Took, more)
	d.shown(e.Container).checkpointing(e)
}

// ended tells how the run on a container has ended.
func (d *deps) ended(operation, container string, took time.Duration, status int, made *metadata.Record) {
	name, more := "", logrus.Fields{}
	if made != nil {
		name, more["size_bytes"], more["frozen_us"] = made.Checkpoint, made.SizeBytes, made.Summary().FrozenUS
	}
	state := map[string]string{opCheckpoint: stateWritten, opPreDump: stateWritten, opRestore: stateRestored, opPrune: statePruned}[operation]
	if status != exitOK {
		state, more["operation"], more["code"] = stateFailed, operation, status
	}
	d.event(container, name, state, took, more)
}
