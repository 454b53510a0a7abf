package main

import (
	"errors"
	"log"
	"slices"
)

// measureContainer has every peer checkpoint the same container in turn, and
// then restore it. Podman has one of its own, of the same image.
func measureContainer(l *lab, s spec) (all []Series, err error) {
	err = l.scoped(func() error {
		b, err := l.start(s, "docker", 1)
		if err != nil {
			return err
		}
		peers := []*peer{
			{name: ours, runs: s.runs, box: b, create: byCheckpointctl},
			{name: unsynced, runs: s.runs, box: b, create: byUnsynced},
			{name: bare, runs: s.runs, box: b, create: byCRIU},
			{name: docker, runs: s.dockerRuns, box: b, create: byDocker},
			{name: runc, runs: s.runs, box: b, create: byRunc},
		}
		if s.mib > 0 {
			peers = append(peers, &peer{name: limit, runs: s.runs, box: b, create: byWrite})
		}
		if s.mib >= 512 {
			peers = append(peers, &peer{name: staged, runs: s.runs, box: b, create: byStagedCRIU})
		}
		var pod *box
		if l.absent[podman] == "" && l.peers.has(podman) {
			if pod, err = l.start(s, "podman", 1); err != nil {
				return err
			}
			peers = append(peers, &peer{name: podman, runs: s.runs, box: pod, create: byPodman})
		}
		peers = slices.DeleteFunc(peers, func(p *peer) bool { return p.name != ours && !l.peers.has(p.name) })
		if all, err = compare(l, peers, s.runs); err != nil {
			return err
		}
		log.Printf("case %s: restores", s.name)
		if err := errors.Join(pod.rest(true), b.rest(false)); err != nil {
			return err
		}
		backs, err := b.restores()
		all = append(all, backs...)
		if err != nil || pod == nil {
			return err
		}
		if err := pod.rest(false); err != nil {
			return err
		}
		backs, err = pod.podmanRestores()
		all = append(all, backs...)
		return err
	})
	return all, err
}

// compare alternates the order from run to run.
func compare(l *lab, peers []*peer, runs int) ([]Series, error) {
	all := make([]Series, len(peers))
	for run := range runs {
		for _, i := range order(len(peers), run) {
			p := peers[i]
			all[i].Peer, all[i].Op = p.name, "checkpoint"
			if p.gone || run >= p.runs {
				continue
			}
			for _, other := range peers {
				if err := other.box.rest(other.box != p.box); err != nil {
					return all, err
				}
			}
			one, err := p.measure(l)
			if err != nil && l.ctx.Err() == nil {
				log.Printf("%s: %v; once more", p.name, err)
				one, err = p.measure(l)
			}
			if err != nil {
				if p.name == ours || p.name == bare || l.ctx.Err() != nil {
					return all, err
				}
				log.Printf("%s: %v", p.name, err)
				p.gone, all[i].Refused = true, reason(err)
				continue
			}
			all[i].add(one)
			log.Printf("run %d of %d: %s %s, gap %s", run+1, runs, p.name, ms(one[total]), ms(one[gap]))
		}
	}
	return all, nil
}

func (p *peer) measure(l *lab) (sample, error) {
	var s sample
	err := l.fresh(func(dir string) error {
		longest, err := p.box.whole(func() (err error) {
			s, err = p.create(p.box, dir)
			return err
		})
		if p.name != limit && err == nil {
			s[gap] = longest
		}
		return err
	})
	return s, err
}

// order is forth in even runs and back in odd ones, beginning one further on
// each time.
func order(n, run int) []int {
	list := make([]int, n)
	for i := range list {
		list[i] = (i + run) % n
	}
	if run%2 == 1 {
		slices.Reverse(list)
	}
	return list
}
