// Package metrics keeps what became of runs in a file for the textfile collector of
// Prometheus's node_exporter.
package metrics

import (
	"time"

	dto "github.com/prometheus/client_model/go"
)

// Run is what became of one container, or of a batch as a whole.
type Run struct {
	Operation  string // checkpoint, pre-dump, restore or prune
	Container  string // or
	Batch      string
	Ended      time.Time
	Took       time.Duration
	ExitStatus int // 0 for success, see docs/exit-codes.md
	// Made is the checkpoint that was made, nil for none.
	Made *Checkpoint
}

// Checkpoint is what a checkpoint cost.
type Checkpoint struct {
	SizeBytes int64
	Frozen    time.Duration // of the container
}

// family is a metric with its help. value says what a run sets it to, if it does.
type family struct {
	name, help string
	value      func(Run) (float64, bool)
}

// families returns all metrics, sorted by name.
func families() []family {
	return []family{
		{"checkpointctl_checkpoint_frozen_seconds", "How long the container was frozen for its last checkpoint.", func(r Run) (float64, bool) {
			if r.Made == nil {
				return 0, false
			}
			return r.Made.Frozen.Seconds(), true
		}},
		{"checkpointctl_checkpoint_size_bytes", "Size of the last checkpoint.", func(r Run) (float64, bool) {
			if r.Made == nil {
				return 0, false
			}
			return float64(r.Made.SizeBytes), true
		}},
		{"checkpointctl_duration_seconds", "How long the last run that succeeded took.", func(r Run) (float64, bool) {
			return r.Took.Seconds(), r.ExitStatus == 0
		}},
		{"checkpointctl_exit_status", "Exit status of the last run, 0 if it succeeded.", func(r Run) (float64, bool) {
			return float64(r.ExitStatus), true
		}},
		{"checkpointctl_last_failure_timestamp_seconds", "When the last run that failed ended.", func(r Run) (float64, bool) {
			return seconds(r.Ended), r.ExitStatus != 0
		}},
		{"checkpointctl_last_success_timestamp_seconds", "When the last run that succeeded ended.", func(r Run) (float64, bool) {
			return seconds(r.Ended), r.ExitStatus == 0
		}},
	}
}

func seconds(t time.Time) float64 { return float64(t.UnixMilli()) / 1000 }

// Names returns the names of all metrics, sorted.
func Names() []string {
	var names []string
	for _, f := range families() {
		names = append(names, f.name)
	}
	return names
}

// labels are what tells the series of a run from others. Empty ones are left out, as
// Prometheus reads them.
func (r Run) labels() []*dto.LabelPair {
	var list []*dto.LabelPair
	for _, l := range [...]struct{ name, value string }{{"batch", r.Batch}, {"container", r.Container}, {"operation", r.Operation}} {
		if l.value != "" {
			list = append(list, &dto.LabelPair{Name: &l.name, Value: &l.value})
		}
	}
	return list
}
