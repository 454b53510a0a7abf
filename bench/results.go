package main

import "slices"

// Results is what docs/performance.json holds.
type Results struct {
	Machine Machine           `json:"machine"`
	Absent  map[string]string `json:"absent,omitempty"` // peers that could not be had, and why
	Cases   []Case            `json:"cases"`
}

// find returns a case, or nil.
func (r Results) find(name string) *Case {
	if i := slices.IndexFunc(r.Cases, func(c Case) bool { return c.Name == name }); i >= 0 {
		return &r.Cases[i]
	}
	return nil
}

// Machine is where it was measured.
type Machine struct {
	Date       string            `json:"date"`
	Kernel     string            `json:"kernel"`
	CPU        string            `json:"cpu"`
	CPUs       int               `json:"cpus"`
	MemoryMiB  int               `json:"memory_mib"`
	Filesystem string            `json:"filesystem"`
	Versions   map[string]string `json:"versions"`
}

// Case is one kind of container.
type Case struct {
	Name  string `json:"name"`
	About string `json:"about"`
	Bytes int64  `json:"memory_bytes,omitempty"`
	// Version is checkpointctl's, if it is another than that of the first cases.
	Version string `json:"version,omitempty"`
	// Busy says that the machine did much else when the case began.
	Busy   bool     `json:"busy,omitempty"`
	Series []Series `json:"series"`
}

// Series are the runs of one peer in one case, in the order they were made;
// figures that the peer does not give are missing.
type Series struct {
	Peer    string             `json:"peer"`
	Op      string             `json:"op"`             // checkpoint, restore, batch, growth, list, prune, search, diff or ps
	Size    int                `json:"size,omitempty"` // of what grows
	Refused string             `json:"refused,omitempty"`
	Runs    map[figure][]int64 `json:"runs,omitempty"`
}

type figure string

const (
	total  figure = "total_us"
	synced figure = "synced_us"       // total, with the images synced to the disk
	gap    figure = "gap_us"          // as the program in the container saw it
	frozen figure = "frozen_us"       // as CRIU counts it
	answer figure = "first_answer_us" // of a restored program, from the start of the command
	toCRIU figure = "to_criu_us"      // from the start of the command to CRIU's log
	disk   figure = "disk_bytes"
	peak   figure = "peak_rss_bytes" // of checkpointctl, in a restore with its stand-in for runc
)

// sample is one run.
type sample map[figure]int64

func (s *Series) add(one sample) {
	if s.Runs == nil {
		s.Runs = map[figure][]int64{}
	}
	for f, n := range one {
		s.Runs[f] = append(s.Runs[f], n)
	}
}

func (s Series) median(f figure) (n int64, runs int) {
	list := s.Runs[f]
	if len(list) == 0 {
		return 0, 0
	}
	return slices.Sorted(slices.Values(list))[len(list)/2], len(list)
}

// series returns what a peer did; nothing for one that took no part.
func (c Case) series(op, peer string) Series {
	for _, s := range c.Series {
		if s.Op == op && s.Peer == peer {
			return s
		}
	}
	return Series{}
}

// median is 0 when there is no such figure.
func (c Case) median(op, peer string, f figure) int64 {
	n, _ := c.series(op, peer).median(f)
	return n
}
