package main

import (
	"encoding/json"
	"fmt"
	"log"
	"maps"
	"os"
	"path/filepath"
	"time"
)

const (
	atOnce       = "one command"
	inTurn       = "one after the other"
	dockerInTurn = "docker, one after the other"
)

// measureBatch checkpoints many containers by one command, and by one command
// for each.
func measureBatch(l *lab, s spec) (all []Series, err error) {
	kinds := []struct {
		name string
		runs int
		do   func(dir string, names []string) error
	}{
		{inTurn, s.runs, l.checkpointInTurn},
		{atOnce, s.runs, l.checkpointAtOnce},
		{dockerInTurn, s.dockerRuns, l.dockerOneByOne},
	}
	all = make([]Series, len(kinds))
	err = l.scoped(func() error {
		var names []string
		s.command = small(1).command
		for i := range s.count {
			b, err := l.start(s, "docker", i+1)
			if err != nil {
				return err
			}
			names = append(names, b.name)
		}
		for run := range s.runs {
			for _, i := range order(len(kinds), run) {
				k := kinds[i]
				all[i].Peer, all[i].Op = k.name, "batch"
				if run >= k.runs || all[i].Refused != "" {
					continue
				}
				var took time.Duration
				err := l.fresh(func(dir string) (err error) {
					took, err = timed(func() error { return k.do(dir, names) })
					return err
				})
				if err != nil && k.name == dockerInTurn && l.ctx.Err() == nil {
					log.Printf("%s: %v", k.name, err)
					all[i].Refused = reason(err)
					continue
				}
				if err != nil {
					return err
				}
				all[i].add(sample{total: micros(took)})
				log.Printf("run %d of %d: %s %s", run+1, s.runs, k.name, ms(micros(took)))
			}
		}
		return nil
	})
	return all, err
}

func (l *lab) checkpointAtOnce(dir string, names []string) error {
	_, err := execute(l.ctx, append([]string{l.binary, "--dir", dir, "checkpoint"}, names...)...)
	return err
}

func (l *lab) checkpointInTurn(dir string, names []string) error {
	for _, name := range names {
		if err := l.checkpointAtOnce(dir, []string{name}); err != nil {
			return err
		}
	}
	return nil
}

func (l *lab) dockerOneByOne(_ string, names []string) error {
	for _, name := range names {
		if _, err := execute(l.ctx, "docker", "checkpoint", "create", "--leave-running", name, "bench"); err != nil {
			return err
		}
	}
	return nil
}

// measureStore lists and prunes a store full of copies of one record.
func measureStore(l *lab, s spec) (all []Series, err error) {
	err = l.scoped(func() error {
		s.command = small(1).command
		b, err := l.start(s, "docker", 1)
		if err != nil {
			return err
		}
		dir := filepath.Join(l.dir, "store")
		l.atEnd(func() { _ = os.RemoveAll(dir) })
		if err := b.fill(dir); err != nil {
			return err
		}
		commands := []struct {
			op, peer string
			args     []string
		}{
			{"list", ours, []string{"list"}},
			{"list", ours + " --json", []string{"list", "--json"}},
			{"prune", ours + " --dry-run", []string{"prune", "--dry-run", "--keep-last", "3", "--keep-daily", "7"}},
		}
		all = make([]Series, len(commands))
		for run := range s.runs {
			for _, i := range order(len(commands), run) {
				c := commands[i]
				r, err := execute(l.ctx, append([]string{l.binary, "--dir", dir}, c.args...)...)
				if err != nil {
					return err
				}
				all[i].Op, all[i].Peer = c.op, c.peer
				all[i].add(sample{total: micros(r.took), peak: r.peak})
				log.Printf("run %d of %d: %s %s", run+1, s.runs, c.op, ms(micros(r.took)))
			}
		}
		return nil
	})
	return all, err
}

// fill makes a store of count checkpoints, an hour between any two.
func (b *box) fill(dir string) error {
	if _, err := execute(b.ctx, b.binary, "--dir", dir, "checkpoint", b.name, "--name", "one"); err != nil {
		return err
	}
	first := filepath.Join(dir, b.name)
	data, err := os.ReadFile(filepath.Join(first, "one", "container.json"))
	if err != nil {
		return err
	}
	var template map[string]any
	if err := json.Unmarshal(data, &template); err != nil {
		return err
	}
	each := perContainer(b.count)
	for i := range b.count {
		rec := maps.Clone(template)
		container, name := fmt.Sprintf("c%d", i/each), fmt.Sprintf("checkpoint%d", i%each)
		rec["name"], rec["checkpoint"] = container, name
		rec["timestamp"] = time.Now().UTC().Add(-time.Duration(i) * time.Hour)
		data, err := json.MarshalIndent(rec, "", "  ")
		if err != nil {
			return err
		}
		place := filepath.Join(dir, container, name)
		if err := os.MkdirAll(place, 0o700); err != nil {
			return err
		}
		if err := os.WriteFile(filepath.Join(place, "container.json"), data, 0o600); err != nil {
			return err
		}
	}
	return os.RemoveAll(first)
}
