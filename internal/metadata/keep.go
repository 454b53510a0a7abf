package metadata

import (
	"fmt"
	"slices"
	"time"
)

// Keep says which checkpoints of a container stay. A checkpoint stays if any
// rule wants it; MaxSize then lets the oldest go. Zero values are no rule.
type Keep struct {
	Last    int           // the newest ones
	Hourly  int           // the newest of each of so many hours that have one
	Daily   int           // of days
	Weekly  int           // of ISO weeks
	Within  time.Duration // all that are at most so much older than the newest
	MaxSize int64         // bytes on the disk, of one container
}

// Verdict is what becomes of one checkpoint, and why.
type Verdict struct {
	Summary Summary  `json:"-"`
	Keep    bool     `json:"keep"`
	Reasons []string `json:"reasons"`
}

// Empty says that no rule is given.
func (k Keep) Empty() bool { return k == Keep{} }

// Apply judges the checkpoints of one container, in any order, and returns them
// newest first. It keeps the newest checkpoint whatever the rules say, what usedBy
// (if set) has a reason for, and whatever a kept one needs. Times are judged
// in UTC, as they are recorded.
func (k Keep) Apply(records []Summary, usedBy func(Summary) string) []Verdict {
	list := make([]Verdict, len(records))
	for i, r := range records {
		list[i].Summary = r
	}
	slices.SortStableFunc(list, func(a, b Verdict) int { return b.Summary.Timestamp.Compare(a.Summary.Timestamp) })
	k.byTime(list)
	k.bySize(list)
	for i := range list {
		if usedBy == nil {
			break
		}
		if by := usedBy(list[i].Summary); by != "" {
			list[i].because(by)
		}
	}
	needed(list)
	for i := range list {
		list[i].Keep = len(list[i].Reasons) > 0
		if !list[i].Keep {
			list[i].Reasons = []string{"no rule keeps it"}
		}
	}
	return list
}

func (v *Verdict) because(reason string) { v.Reasons = append(v.Reasons, reason) }

// byTime gives reasons by the rules on age.
func (k Keep) byTime(list []Verdict) {
	periods := []struct {
		name string
		left int
		of   func(time.Time) string
		last string
	}{
		{"hour", k.Hourly, func(t time.Time) string { return t.Format("2006-01-02 15h") }, ""},
		{"day", k.Daily, func(t time.Time) string { return t.Format("2006-01-02") }, ""},
		{"week", k.Weekly, func(t time.Time) string { y, w := t.ISOWeek(); return fmt.Sprintf("%d-W%02d", y, w) }, ""},
	}
	var newest time.Time
	seen := 0
	for i := range list {
		v := &list[i]
		at := v.Summary.Timestamp.UTC()
		if v.Summary.Kind == KindPreDump {
			if seen == 0 {
				v.because("may yet be continued")
			}
			continue
		}
		seen++
		if seen == 1 {
			newest = at
			v.because("newest")
		}
		if seen <= k.Last {
			v.because(fmt.Sprintf("one of the last %d", k.Last))
		}
		if k.Within > 0 && newest.Sub(at) <= k.Within {
			v.because(fmt.Sprintf("within %s", k.Within))
		}
		for n := range periods {
			p := &periods[n]
			if name := p.of(at); p.left > 0 && name != p.last {
				p.last, p.left = name, p.left-1
				v.because(fmt.Sprintf("newest of %s %s", p.name, name))
			}
		}
	}
}

// bySize takes the reasons from the oldest until the rest fits. With no other
// rule everything has a reason until then.
func (k Keep) bySize(list []Verdict) {
	if k.MaxSize == 0 {
		return
	}
	if (k == Keep{MaxSize: k.MaxSize}) {
		for i := range list {
			if list[i].Reasons == nil && list[i].Summary.Kind != KindPreDump {
				list[i].because("within the size allowed")
			}
		}
	}
	var sum int64
	full := false
	for i := range list {
		if list[i].Reasons == nil {
			continue
		}
		sum += list[i].Summary.SizeBytes
		// Newest first: from the first that does not fit on, all go.
		if full = full || sum > k.MaxSize; full && list[i].Reasons[0] != "newest" {
			list[i].Reasons = nil
		}
	}
}

// needed gives a reason to all ancestors of what is kept.
func needed(list []Verdict) {
	byName := map[string]*Verdict{}
	for i := range list {
		byName[list[i].Summary.Checkpoint] = &list[i]
	}
	for i := range list {
		if list[i].Reasons == nil {
			continue
		}
		child := list[i].Summary
		for p := byName[child.Parent]; p != nil && p.Summary.Checkpoint != child.Checkpoint; p = byName[child.Parent] {
			reason := "parent of " + child.Checkpoint
			if slices.Contains(p.Reasons, reason) {
				break // seen from another child, with what lies above
			}
			p.because(reason)
			child = p.Summary
		}
	}
}
