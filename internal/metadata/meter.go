package metadata

import "sync/atomic"

// meter reports how much of some files has been read, by many at once.
type meter struct {
	done   atomic.Int64
	total  int64
	report func(done, total int64) // may be nil
}

func newMeter(files []File, report func(done, total int64)) *meter {
	m := &meter{report: report}
	for _, f := range files {
		m.total += f.SizeBytes
	}
	return m
}

func (m *meter) Write(data []byte) (int, error) {
	m.add(int64(len(data)))
	return len(data), nil
}

func (m *meter) add(n int64) {
	if m.report != nil {
		m.report(m.done.Add(n), m.total)
	}
}
