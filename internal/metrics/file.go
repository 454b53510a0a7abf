package metrics

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/natefinch/atomic"
	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
	"golang.org/x/sys/unix"
)

// ErrForeign is a file with something else in it than what this package writes. It is
// left as it is.
var ErrForeign = errors.New("not a file of metrics of checkpointctl")

// Update writes runs into the file, which anybody may read, and keeps what it has about
// others. It is replaced in one step, and several programs may do so at once.
// Containers that are gone, of which the last run did not fail, are forgotten.
func Update(file string, runs []Run, gone func(container string) bool) error {
	unlock, err := lock(filepath.Dir(file))
	if err != nil {
		return err
	}
	defer unlock()
	known, err := read(file)
	if err != nil {
		return err
	}
	for _, r := range runs {
		known.set(r)
	}
	known.forget(func(container string) bool {
		return gone(container) && !slices.ContainsFunc(runs, func(r Run) bool { return r.Container == container })
	})
	var text bytes.Buffer
	for _, f := range families() {
		if len(known[f.name].GetMetric()) == 0 {
			continue
		}
		if _, err := expfmt.MetricFamilyToText(&text, known[f.name]); err != nil {
			return err
		}
	}
	// The mode is that of the file that is replaced. node_exporter is not root.
	if f, err := os.OpenFile(file, os.O_CREATE|os.O_EXCL, 0o644); err == nil { //nolint:gosec // for everybody
		err = errors.Join(f.Chmod(0o644), f.Close())
		if err != nil {
			return err
		}
	}
	return atomic.WriteFile(file, &text)
}

// lock waits for others that write into the directory. Beside the file there must be
// nothing: node_exporter would read it.
func lock(dir string) (unlock func(), err error) {
	f, err := os.Open(dir)
	if err != nil {
		return nil, err
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX); err != nil {
		return nil, errors.Join(&os.PathError{Op: "flock", Path: dir, Err: err}, f.Close())
	}
	return func() { _ = f.Close() }, nil
}

// series are metrics by name.
type series map[string]*dto.MetricFamily

func read(file string) (series, error) {
	text, err := os.ReadFile(file)
	if errors.Is(err, os.ErrNotExist) {
		return series{}, nil
	}
	if err != nil {
		return nil, err
	}
	parser := expfmt.NewTextParser(model.LegacyValidation)
	found, err := parser.TextToMetricFamilies(bytes.NewReader(text))
	if err != nil {
		return nil, fmt.Errorf("%s: %w: %s", file, ErrForeign, strings.TrimSpace(err.Error()))
	}
	for name, f := range found {
		if !slices.Contains(Names(), name) || f.GetType() != dto.MetricType_GAUGE {
			return nil, fmt.Errorf("%s: %w: it has %s", file, ErrForeign, name)
		}
	}
	return found, nil
}

// set puts in what the run says, and leaves what it does not say as it was.
func (s series) set(r Run) {
	for _, f := range families() {
		value, ok := f.value(r)
		if !ok {
			continue
		}
		if s[f.name] == nil {
			s[f.name] = &dto.MetricFamily{Name: &f.name, Help: &f.help, Type: dto.MetricType_GAUGE.Enum()}
		}
		labels := r.labels()
		list := slices.DeleteFunc(s[f.name].Metric, func(m *dto.Metric) bool { return key(m.Label) == key(labels) })
		list = append(list, &dto.Metric{Label: labels, Gauge: &dto.Gauge{Value: &value}})
		slices.SortFunc(list, func(a, b *dto.Metric) int { return strings.Compare(key(a.Label), key(b.Label)) })
		s[f.name].Metric = list
	}
}

// forget drops containers, except those whose last run failed.
func (s series) forget(gone func(container string) bool) {
	failed := map[string]bool{}
	for _, m := range s["checkpointctl_exit_status"].GetMetric() {
		if m.Gauge.GetValue() != 0 {
			failed[container(m.Label)] = true
		}
	}
	for _, f := range s {
		f.Metric = slices.DeleteFunc(f.Metric, func(m *dto.Metric) bool {
			name := container(m.Label)
			return name != "" && !failed[name] && gone(name)
		})
	}
}

func container(labels []*dto.LabelPair) string {
	for _, l := range labels {
		if l.GetName() == "container" {
			return l.GetValue()
		}
	}
	return ""
}

// key tells labels from others, whatever order they are in.
func key(labels []*dto.LabelPair) string {
	var list []string
	for _, l := range labels {
		list = append(list, fmt.Sprintf("%s=%q", l.GetName(), l.GetValue()))
	}
	slices.Sort(list)
	return strings.Join(list, ",")
}
