package main

import (
	"context"
	"log"
	"os"
	"strconv"
	"strings"
	"time"
)

const (
	calmIdle  = 0.8 // of all processors' time
	calmLimit = time.Minute
)

// awaitCalm says whether the machine does little else: then figures can be
// judged.
func awaitCalm(ctx context.Context) bool {
	end := time.Now().Add(calmLimit)
	for said := false; ; said = true {
		before := readTicks()
		select {
		case <-ctx.Done():
			return false
		case <-time.After(time.Second):
		}
		idle := readTicks().since(before)
		switch {
		case idle >= calmIdle:
			return true
		case time.Now().After(end):
			log.Printf("the machine is busy (%.0f %% idle): its figures are not judged", 100*idle)
			return false
		case !said:
			log.Printf("the machine is busy (%.0f %% idle): waiting up to %s", 100*idle, calmLimit)
		}
	}
}

// ticks are of the first line of /proc/stat.
type ticks struct{ idle, all int64 }

func readTicks() ticks {
	data, _ := os.ReadFile("/proc/stat")
	line, _, _ := strings.Cut(string(data), "\n")
	return parseTicks(line)
}

// parseTicks knows the fields of proc_stat(5): user, nice, system, idle, iowait,
// irq, softirq, steal; what follows is counted in user already.
func parseTicks(line string) ticks {
	var t ticks
	for i, f := range strings.Fields(line) {
		n, _ := strconv.ParseInt(f, 10, 64)
		if i == 4 {
			t.idle = n
		}
		if i > 0 && i <= 8 {
			t.all += n
		}
	}
	return t
}

// since is the idle part of the time from before to now.
func (t ticks) since(before ticks) float64 {
	if t.all == before.all {
		return 1
	}
	return float64(t.idle-before.idle) / float64(t.all-before.all)
}
