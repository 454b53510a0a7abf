// Command bench measures checkpointctl beside its peers, in one run on the same
// containers, and writes the figures as JSON, a table and a chart.
//
//	go run ./bench            measure, then write docs/performance.{json,md,svg}
//	go run ./bench -resume    measure the cases that the JSON lacks, and add them; with
//	                          -case those of them that are named
//	go run ./bench -short     a small run that shows that it works; writes nothing
//	go run ./bench -case small -peer "criu dump" -runs 3
//	                          a part of it, printed; writes nothing
//	go run ./bench -report    write the table and the chart from the JSON again
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"log"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
)

type options struct {
	top    string
	short  bool
	report bool
	resume bool
	cases  list
	peers  list
	runs   int
}

// part says that not all is measured.
func (o options) part() bool { return o.cases != nil || o.peers != nil }

// list is a flag of several names.
type list []string

func (l *list) String() string { return strings.Join(*l, ",") }

// Set replaces the list.
func (l *list) Set(names string) error {
	*l = strings.Split(names, ",")
	return nil
}

// has says whether a name is in the list; all are in an empty one.
func (l *list) has(name string) bool { return len(*l) == 0 || slices.Contains(*l, name) }

func main() {
	log.SetFlags(log.Ltime)
	log.SetPrefix("bench: ")
	var o options
	flag.BoolVar(&o.short, "short", false, "a small run that shows that it works; judges and writes nothing")
	flag.BoolVar(&o.resume, "resume", false, "measure the cases that the JSON lacks, after a run that was interrupted, and add them")
	flag.BoolVar(&o.report, "report", false, "measure nothing, write table and chart from the JSON")
	flag.Var(&o.cases, "case", "measure only the `cases` named, comma between; print, write nothing")
	flag.Var(&o.peers, "peer", "measure only the `peers` named, as the JSON names them, and checkpointctl; print, write nothing")
	flag.IntVar(&o.runs, "runs", 0, "at most `N` runs of each; with -case or -peer")
	flag.StringVar(&o.top, "top", ".", "`directory` of the project")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, o)
	stop()
	if err != nil {
		log.Fatal("error: ", err)
	}
}

func run(ctx context.Context, o options) error {
	file := filepath.Join(o.top, "docs", "performance.json")
	if o.report {
		r, err := load(file)
		if err != nil {
			return err
		}
		return writeDocs(o.top, r)
	}
	if o.short || o.part() && !o.resume {
		r, err := measure(ctx, o, Results{}, func(Results) error { return nil })
		if err == nil {
			fmt.Print(markdown(r))
		}
		return err
	}
	var had Results
	if o.resume {
		var err error
		if had, err = load(file); err != nil {
			return err
		}
	}
	_, err := measure(ctx, o, had, func(r Results) error {
		data, err := json.MarshalIndent(r, "", " ")
		if err != nil {
			return err
		}
		return errors.Join(os.WriteFile(file, append(data, '\n'), 0o644), writeDocs(o.top, r))
	})
	return err
}

// measure runs the cases that there are no results of yet, and hands over all
// results so far after each. What it made is gone afterwards, also when it fails.
func measure(ctx context.Context, o options, r Results, done func(Results) error) (Results, error) {
	l, err := newLab(ctx, o)
	defer l.close()
	if err != nil {
		return Results{}, err
	}
	here := l.machine()
	if r.Cases == nil {
		r.Machine = here
	}
	r.Absent = l.absent
	for _, c := range cases(o.short) {
		if !o.cases.has(c.name) || r.find(c.name) != nil {
			continue
		}
		if o.part() && o.runs > 0 {
			c = c.atMost(o.runs)
		}
		log.Printf("case %s: %s", c.name, c.about)
		busy := !o.short && !awaitCalm(ctx)
		series, err := c.measure(l, c)
		if err != nil {
			return r, fmt.Errorf("case %s: %w", c.name, err)
		}
		one := Case{Name: c.name, About: c.about, Bytes: int64(c.mib) << 20, Busy: busy, Series: series}
		if now := here.Versions[ours]; now != r.Machine.Versions[ours] {
			one.Version = now
		}
		r.Cases = append(r.Cases, one)
		if err := done(r); err != nil {
			return r, err
		}
	}
	return r, nil
}

func load(file string) (Results, error) {
	var r Results
	data, err := os.ReadFile(file)
	if err != nil {
		return r, err
	}
	return r, json.Unmarshal(data, &r)
}
