package main

import (
	"fmt"
	"log"
	"math"
	"slices"
	"strings"
)

// growths are the cases of work that grows; in short, of the first two sizes.
func growths(runs int, short bool) []spec {
	list := []spec{
		{
			name: "growth-of-memory", about: "MiB of incompressible memory", sizes: []int{64, 256, 1024, 4096},
			ofSize: func(n int) spec { return memory(n, runs) }, measure: measureGrowth,
		},
		{
			name: "growth-of-containers", about: "containers, each with a shell loop, by one command", sizes: []int{1, 2, 4, 8, 16, 32},
			ofSize: func(n int) spec { return batch(n, runs) }, measure: measureGrowthOfBatch,
		},
		{
			name: "growth-of-processes", about: "processes that sleep", sizes: []int{1, 10, 100, 1000},
			ofSize: func(n int) spec { return processes(n, runs) }, measure: measureGrowth,
		},
		{
			name: "growth-of-connections", about: "established TCP connections, both ends in the container", sizes: []int{1, 10, 100, 1000},
			ofSize: func(n int) spec { return tcp(n, runs) }, measure: measureGrowth,
		},
	}
	for i := range list {
		list[i].runs = runs
		if short {
			list[i].sizes = list[i].sizes[:2]
		}
	}
	return list
}

// measureGrowth checkpoints one container of each size.
func measureGrowth(l *lab, s spec) ([]Series, error) {
	return s.eachSize(l, func(one spec) ([]Series, error) {
		b, err := l.start(one, "docker", one.size)
		if err != nil {
			return nil, err
		}
		return compare(l, []*peer{
			{name: ours, runs: s.runs, box: b, create: byCheckpointctl},
			{name: unsynced, runs: s.runs, box: b, create: byUnsynced},
			{name: bare, runs: s.runs, box: b, create: byCRIU},
		}, s.runs)
	})
}

// measureGrowthOfBatch checkpoints so many containers by one command.
func measureGrowthOfBatch(l *lab, s spec) ([]Series, error) {
	return s.eachSize(l, func(one spec) ([]Series, error) {
		boxes, err := l.startMany(one)
		if err != nil {
			return nil, err
		}
		return l.inTurns(s.runs, []way{{ours, s.runs, l.checkpointAtOnce}, {bare, s.runs, bareInTurn}}, boxes)
	})
}

// eachSize removes what was made for a size before the next one.
func (s spec) eachSize(l *lab, measure func(spec) ([]Series, error)) (all []Series, err error) {
	for _, n := range s.sizes {
		one := s.ofSize(n)
		one.size = n
		log.Printf("%s: %d %s", s.name, n, s.about)
		err := l.scoped(func() error {
			list, err := measure(one)
			for i := range list {
				list[i].Op, list[i].Size = "growth", n
			}
			all = append(all, list...)
			return err
		})
		if err != nil {
			return all, err
		}
	}
	return all, nil
}

// grown are the medians of a peer, by size; sizes without the figure are left out.
func (c Case) grown(peer string, f figure) (sizes []int, medians []int64) {
	for _, s := range c.Series {
		if n, runs := s.median(f); s.Op == "growth" && s.Peer == peer && runs > 0 {
			sizes, medians = append(sizes, s.Size), append(medians, n)
		}
	}
	return sizes, medians
}

// exponent is k in a time that grows as size^k, from the last but one size to the
// last: what does not grow at all counts least there. NaN of fewer than two sizes.
func exponent(sizes []int, medians []int64) float64 {
	n := len(sizes)
	if n < 2 {
		return math.NaN()
	}
	return math.Log(float64(medians[n-1])/float64(medians[n-2])) / math.Log(float64(sizes[n-1])/float64(sizes[n-2]))
}

// growthColumns are the figures of the table of growth.
var growthColumns = [...]struct {
	title, peer string
	figure      figure
}{
	{"checkpointctl", ours, total},
	{"`--sync none`", unsynced, total},
	{"`criu dump`", bare, total},
	{"gap, checkpointctl", ours, gap},
	{"gap, `criu dump`", bare, gap},
}

// writeGrowth writes nothing if no case is of growth.
func writeGrowth(b *strings.Builder, cases []Case) {
	cases = slices.DeleteFunc(slices.Clone(cases), func(c Case) bool { return !isGrowth(c) })
	if len(cases) == 0 {
		return
	}
	b.WriteString("\n### Growth\n\nTime and gap as the work grows. The exponent k of the last step says that the figure grows as size^k there:\n" +
		"1 is in proportion. Of several containers, `criu dump` is one after the other.\n\n| case | size |")
	for _, c := range growthColumns {
		fmt.Fprintf(b, " %s |", c.title)
	}
	b.WriteString("\n|---|---|" + strings.Repeat("---|", len(growthColumns)) + "\n")
	for _, c := range cases {
		c.writeGrowth(b)
	}
}

func isGrowth(c Case) bool {
	return slices.ContainsFunc(c.Series, func(s Series) bool { return s.Op == "growth" })
}

// writeGrowth writes a row for each size, and one of the exponents.
func (c Case) writeGrowth(b *strings.Builder) {
	var sizes []int
	for _, s := range c.Series {
		if !slices.Contains(sizes, s.Size) {
			sizes = append(sizes, s.Size)
		}
	}
	exponents := ""
	for _, n := range sizes {
		fmt.Fprintf(b, "| %s | %d |", c.Name, n)
		for _, col := range growthColumns {
			has, medians := c.grown(col.peer, col.figure)
			cell := "–"
			if i := slices.Index(has, n); i >= 0 {
				cell = ms(medians[i])
			}
			fmt.Fprintf(b, " %s |", cell)
		}
		b.WriteString("\n")
	}
	for _, col := range growthColumns {
		cell := "–"
		if k := exponent(c.grown(col.peer, col.figure)); !math.IsNaN(k) {
			cell = fmt.Sprintf("**%.2f**", k)
		}
		exponents += " " + cell + " |"
	}
	fmt.Fprintf(b, "| %s | **exponent** |%s\n", c.Name, exponents)
}
