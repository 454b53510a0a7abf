package main

import (
	"fmt"
	"strings"
)

// goal is an upper bound for one case.
type goal struct {
	what         string
	got, allowed int64
	figure       figure
}

// goals are what is aimed at, as ratios within one run.
func goals(c Case, all Results) []goal {
	const op = "checkpoint"
	var list []goal
	add := func(what string, f figure, got, of int64, allowed float64, plus int64) {
		if got > 0 && of > 0 {
			list = append(list, goal{what: what, figure: f, got: got, allowed: int64(float64(of)*allowed) + plus})
		}
	}
	add("time: 1.05 of `criu dump` + sync, plus 30 ms", total, c.median(op, ours, total), c.median(op, bare, synced), 1.05, 30_000)
	add("time with `--sync none`: 1.05 of `criu dump`, plus 30 ms", total, c.median(op, unsynced, total), c.median(op, bare, total), 1.05, 30_000)
	add(fmt.Sprintf("gap: %.4g of `criu dump`", gapGoal(c)), gap, c.median(op, ours, gap), c.median(op, bare, gap), gapGoal(c), 0)
	if c.Name == "512-MiB" {
		add("gap: 1.1 of `write(2)`", gap, c.median(op, ours, gap), c.median(op, limit, total), 1.1, 0)
	}
	if c.Name == "200-connections" {
		add("gap: at most Podman's", gap, c.median(op, ours, gap), c.median(op, podman, gap), 1, 0)
	}
	if c.Bytes >= 512<<20 {
		add("time: a tenth of Docker's", total, c.median(op, ours, total), c.median(op, docker, total), 0.1, 0)
		add("gap: a quarter of Docker's", gap, c.median(op, ours, gap), c.median(op, docker, gap), 0.25, 0)
		add("restore: a tenth of Docker's", answer, c.median("restore", ours, answer), c.median("restore", docker, answer), 0.1, 0)
	}
	list = append(list, restoreGoals(c, all)...)
	if got := c.median(op, ours, peak); got > 0 {
		list = append(list, goal{what: "peak memory", figure: peak, got: got, allowed: 64 << 20})
	}
	if got := c.median(op, ours, toCRIU); got > 0 {
		list = append(list, goal{what: "start to CRIU", figure: toCRIU, got: got, allowed: 25_000})
	}
	add("batch: 0.6 of `criu dump` one after the other", total, c.median("batch", atOnce, total), c.median("batch", bare, total), 0.6, 0)
	return append(list, lookGoals(c)...)
}

// gapGoal is what part of the gap of a bare `criu dump` is aimed at.
func gapGoal(c Case) float64 {
	switch c.Name {
	case "small":
		return 0.7
	case "200-processes":
		return 0.6
	}
	return 1.05
}

// lookGoals are of looking into checkpoints that are in the page cache.
func lookGoals(c Case) []goal {
	var list []goal
	add := func(what, op string, f figure, allowed int64) {
		if got := c.median(op, ours, f); got > 0 {
			list = append(list, goal{what: what, figure: f, got: got, allowed: allowed})
		}
	}
	const gigabyte = 1_000_000_000
	add("search: 1 GB each second", "search", total, c.Bytes*1_000_000/gigabyte)
	add("search: peak memory", "search", peak, 64<<20)
	if c.Bytes >= 2<<30 {
		add("difference of two of 2 GiB: 5 s", "diff", total, 5_000_000)
	}
	add("processes: 0.3 s", "ps", total, 300_000)
	return list
}

// restoreGoals compare what does not verify, as the peers do not.
func restoreGoals(c Case, all Results) []goal {
	const op = "restore"
	var list []goal
	add := func(what, peer string, of int64, allowed float64, plus int64) {
		if got := c.median(op, peer, answer); got > 0 && of > 0 {
			list = append(list, goal{what: what, figure: answer, got: got, allowed: int64(float64(of)*allowed) + plus})
		}
	}
	add("restore, first beat: at most Podman's", unverified, c.median(op, podman, answer), 1, 0)
	if criu, start := c.median(op, bareRestore, total), c.median(op, plainStart, total); criu > 0 && start > 0 {
		add("restore, first beat: 1.15 of `criu restore` and `docker start` together", unverified, criu+start, 1.15, 0)
	}
	add("restore, first beat: 1.1 of `--no-verify`", ours, c.median(op, unverified, answer), 1.1, 0)
	add("restore, first beat with `--lazy-pages`: 0.3 of the eager one", lazy, c.median(op, unverified, answer), 0.3, 0)
	if small := all.find("small"); small != nil {
		add("restore, first beat with `--lazy-pages`: that of small, plus 150 ms", lazy, small.median(op, unverified, answer), 1, 150_000)
	}
	if got := c.median(op, ours, peak); got > 0 {
		list = append(list, goal{what: "restore, peak memory of all processes", figure: peak, got: got, allowed: 64 << 20})
	}
	return list
}

func writeGoals(b *strings.Builder, r Results) {
	b.WriteString("\n### Goals\n\n| case | goal | allowed | measured | |\n|---|---|---|---|---|\n")
	for _, c := range r.Cases {
		for _, g := range goals(c, r) {
			verdict := "met"
			switch {
			case c.Busy:
				verdict = "not judged: the machine was busy"
			case g.got > g.allowed:
				verdict = "**missed**"
			}
			fmt.Fprintf(b, "| %s | %s | %s | %s | %s |\n", c.Name, g.what, show(g.figure, g.allowed), show(g.figure, g.got), verdict)
		}
	}
}
