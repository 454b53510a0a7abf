package main

import (
	"encoding/json"
	"fmt"
	"log"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"time"
)

const (
	atOnce       = "one command"
	inTurn       = "one after the other"
	dockerInTurn = "docker, one after the other"
)

// way is one way to checkpoint many containers.
type way struct {
	name string
	runs int
	do   func(dir string, boxes []*box) error
}

// measureBatch checkpoints many containers by one command, and by one command
// for each.
func measureBatch(l *lab, s spec) (all []Series, err error) {
	err = l.scoped(func() error {
		boxes, err := l.startMany(s)
		if err != nil {
			return err
		}
		all, err = l.inTurns(s.runs, []way{
			{inTurn, s.runs, l.checkpointInTurn},
			{atOnce, s.runs, l.checkpointAtOnce},
			{bare, s.runs, bareInTurn},
			{dockerInTurn, s.dockerRuns, l.dockerOneByOne},
		}, boxes)
		return err
	})
	return all, err
}

// inTurns alternates the order of the ways from run to run.
func (l *lab) inTurns(runs int, ways []way, boxes []*box) ([]Series, error) {
	all := make([]Series, len(ways))
	for run := range runs {
		for _, i := range order(len(ways), run) {
			w := ways[i]
			all[i].Peer, all[i].Op = w.name, "batch"
			if run >= w.runs || all[i].Refused != "" {
				continue
			}
			var took time.Duration
			err := l.fresh(func(dir string) (err error) {
				took, err = timed(func() error { return w.do(dir, boxes) })
				return err
			})
			if err != nil && w.name == dockerInTurn && l.ctx.Err() == nil {
				log.Printf("%s: %v", w.name, err)
				all[i].Refused = reason(err)
				continue
			}
			if err != nil {
				return all, err
			}
			all[i].add(sample{total: micros(took)})
			log.Printf("run %d of %d: %s %s", run+1, runs, w.name, ms(micros(took)))
		}
	}
	return all, nil
}

// startMany runs count containers that do little: many that beat each millisecond
// would leave no processor for what is measured.
func (l *lab) startMany(s spec) ([]*box, error) {
	s.command = []string{"sh", "-c", "(while :; do sleep 1; done) & exec " + strings.Join(tick("every=1000"), " ")}
	var boxes []*box
	for i := range s.count {
		b, err := l.start(s, "docker", i+1)
		if err != nil {
			return nil, err
		}
		if _, err := b.dumpArgs(); err != nil { // asks Docker: not to be timed
			return nil, err
		}
		boxes = append(boxes, b)
	}
	return boxes, nil
}

func (l *lab) checkpointAtOnce(dir string, boxes []*box) error {
	args := []string{l.binary, "--dir", dir, "checkpoint"}
	for _, b := range boxes {
		args = append(args, b.name)
	}
	_, err := execute(l.ctx, args...)
	return err
}

func (l *lab) checkpointInTurn(dir string, boxes []*box) error {
	for i := range boxes {
		if err := l.checkpointAtOnce(dir, boxes[i:i+1]); err != nil {
			return err
		}
	}
	return nil
}

func bareInTurn(dir string, boxes []*box) error {
	for _, b := range boxes {
		images := filepath.Join(dir, b.name)
		if err := os.Mkdir(images, 0o700); err != nil {
			return err
		}
		if _, err := execute(b.ctx, append([]string{"criu", "dump", "-D", images}, b.bare...)...); err != nil {
			return err
		}
	}
	return nil
}

func (l *lab) dockerOneByOne(_ string, boxes []*box) error {
	for _, b := range boxes {
		if _, err := execute(l.ctx, "docker", "checkpoint", "create", "--leave-running", b.name, "bench"); err != nil {
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
