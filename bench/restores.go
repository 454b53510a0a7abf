package main

import (
	"fmt"
	"log"
	"os"
	"path/filepath"
	"slices"
	"time"

	"golang.org/x/sync/errgroup"
)

// Peers of restores only.
const (
	unverified  = ours + " --no-verify"
	lazy        = ours + " --lazy-pages"
	bareRestore = "criu restore"
	plainStart  = "docker start"
)

// returner is one way to bring the box back.
type returner struct {
	series Series
	runs   int
	back   func(*Series) error
}

// restores has all that can restore the same images do so in turn.
func (b *box) restores() ([]Series, error) {
	dir := filepath.Join(b.dir, "restore")
	defer os.RemoveAll(dir)
	defer os.RemoveAll(filepath.Join(b.dockerDir(), "plain"))
	if _, err := execute(b.ctx, b.binary, "--dir", dir, "checkpoint", b.name, "--name", "one"); err != nil {
		return nil, err
	}
	if err := b.kill(); err != nil {
		return nil, err
	}
	images := filepath.Join(dir, b.name, "one")
	if err := b.giveToDocker(images); err != nil {
		return nil, err
	}
	// Each restored program beats on in its file.
	mine := []string{b.binary, "--dir", dir, "restore", "--files=keep"}
	ways := []*returner{
		b.returner(ours, b.spec.restores, append(mine, b.name, "one")...),
		b.returner(unverified, b.spec.restores, append(mine, "--no-verify", b.name, "one")...),
		b.returner(plainStart, b.spec.restores, "docker", "start", b.name),
		{series: Series{Peer: bareRestore, Op: "restore"}, runs: b.spec.restores, back: func(s *Series) error { return b.restoreBare(s, images) }},
		b.returner(docker, b.dockerBacks, "docker", "start", "--checkpoint", "plain", b.name),
	}
	if b.lazy {
		ways = append(ways, b.returner(lazy, b.spec.restores, append(mine, "--no-verify", "--lazy-pages", b.name, "one")...))
	}
	ways = slices.DeleteFunc(ways, func(r *returner) bool { return r.series.Peer != ours && !b.peers.has(r.series.Peer) })
	for run := range b.spec.restores {
		for _, i := range order(len(ways), run) {
			r := ways[i]
			if run >= r.runs || r.series.Refused != "" {
				continue
			}
			if err := r.back(&r.series); err != nil {
				return nil, err
			}
		}
	}
	if why := ways[0].series.Refused; why != "" {
		return nil, fmt.Errorf("restore: %s", why)
	}
	// Looking takes time from what is looked at: it is a run of its own.
	most, err := b.peakOfRestore(append(mine, b.name, "one"))
	ways[0].series.add(sample{peak: most})
	all := make([]Series, len(ways))
	for i, r := range ways {
		all[i] = r.series
	}
	return all, err
}

func (b *box) returner(peer string, runs int, args ...string) *returner {
	return &returner{series: Series{Peer: peer, Op: "restore"}, runs: runs, back: func(s *Series) error { return b.restore(s, args...) }}
}

// giveToDocker puts a copy of the images where Docker looks for them.
func (b *box) giveToDocker(images string) error {
	plain := filepath.Join(b.dockerDir(), "plain")
	if err := os.MkdirAll(b.dockerDir(), 0o700); err != nil {
		return err
	}
	if _, err := execute(b.ctx, "cp", "-a", images, plain); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(plain, marker), nil, 0o600)
}

// restore times one restore by a command to its end and to the first beat, and
// ends the container again.
func (b *box) restore(s *Series, args ...string) error {
	ok, err := b.timeRestore(s, func() (ran, error) { return execute(b.ctx, args...) })
	removeLeaked()
	if err != nil {
		return err
	}
	if !ok {
		_, _ = b.engine("kill", b.name)
		return nil
	}
	return b.kill()
}

// timeRestore says whether the restore was one. What it refuses is in the series.
func (b *box) timeRestore(s *Series, do func() (ran, error)) (bool, error) {
	if err := b.settle(); err != nil {
		return false, err
	}
	was := b.beat()
	first := make(chan time.Time, 1)
	began := time.Now()
	var g errgroup.Group
	g.Go(func() error {
		err := b.awaitBeat(was, 2*time.Minute)
		first <- time.Now()
		return err
	})
	r, err := do()
	if err != nil {
		log.Printf("%s: %v", s.Peer, err)
		s.Refused = reason(err)
		return false, b.ctx.Err()
	}
	if err := g.Wait(); err != nil {
		return false, fmt.Errorf("%s: %w", s.Peer, err)
	}
	one := sample{total: micros(r.took), answer: (<-first).Sub(began).Microseconds()}
	s.add(one)
	log.Printf("restore by %s: %s, first beat after %s", s.Peer, ms(one[total]), ms(one[answer]))
	return true, nil
}

// peakOfRestore is the most memory that checkpointctl and its stand-in for runc
// had resident together, in a restore that is not timed.
func (b *box) peakOfRestore(args []string) (int64, error) {
	done := make(chan struct{})
	most := make(chan int64)
	go func() { most <- watchPrograms(b.programs, done) }()
	_, err := execute(b.ctx, args...)
	close(done)
	n := <-most
	if err != nil {
		return n, err
	}
	return n, b.kill()
}

func (b *box) podmanRestores() ([]Series, error) {
	s := Series{Peer: podman, Op: "restore"}
	args := []string{"--keep", "--file-locks", b.name}
	if b.tcp {
		args = append([]string{"--tcp-established"}, args...)
	}
	if _, err := b.engine(append([]string{"container", "checkpoint"}, args...)...); err != nil {
		s.Refused = reason(err)
		return []Series{s}, b.ctx.Err()
	}
	for range b.spec.restores {
		restore := append(append([]string{}, b.cli...), "container", "restore")
		if err := b.restore(&s, append(restore, args...)...); err != nil {
			return nil, err
		}
		if s.Refused != "" {
			break
		}
	}
	return []Series{s}, nil
}
