package main

import (
	"errors"
	"fmt"
	"log"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

const (
	crit = "crit"
	// other is the program of the same name, github.com/checkpoint-restore/checkpointctl.
	other = "checkpoint-restore/checkpointctl"

	// nowhere is in no memory, so that all of it is searched.
	nowhere = "this text is in the memory of no process but the one that looks for it"
)

// lookInto is a case of looking into two checkpoints of a container.
func lookInto(s spec) spec {
	s.image, s.measure = "base", measureLook
	return s
}

func lookIntoMemory(mib, runs int) spec {
	return lookInto(spec{
		name: fmt.Sprintf("look-into-%d-MiB", mib), about: fmt.Sprintf("search, and the difference of two checkpoints, of %d MiB of incompressible memory", mib),
		runs: runs, mib: mib, command: tick(fmt.Sprintf("memory=%d", mib), fmt.Sprintf("rate=%d", mib<<10/100)),
	})
}

func lookIntoProcesses(count, runs int) spec {
	return lookInto(spec{
		name: fmt.Sprintf("look-into-%d-processes", count), about: fmt.Sprintf("command lines of %d processes", count), runs: runs, count: count,
		command: beside(fmt.Sprintf(`for i in $(seq %d); do sleep 1000000 & done`, count)),
	})
}

// look is a command that looks into the checkpoints.
type look struct {
	op, peer string
	runs     int
	args     []string
}

// measureLook times commands on images that are in the page cache.
func measureLook(l *lab, s spec) (all []Series, err error) {
	err = l.scoped(func() error {
		b, err := l.start(s, "docker", 1)
		if err != nil {
			return err
		}
		dir := filepath.Join(l.dir, "looked")
		l.atEnd(func() { _ = os.RemoveAll(dir) })
		for _, name := range []string{"a", "b"} {
			if _, err := execute(l.ctx, l.binary, "--dir", dir, "checkpoint", b.name, "--name", name); err != nil {
				return err
			}
		}
		if err := b.rest(true); err != nil {
			return err
		}
		list, err := b.looks(dir)
		if err != nil {
			return err
		}
		all = make([]Series, len(list))
		for i, k := range list {
			all[i].Op, all[i].Peer = k.op, k.peer
		}
		for run := range s.runs {
			for _, i := range order(len(list), run) {
				if run < list[i].runs && all[i].Refused == "" {
					if err := l.look(list[i], &all[i], run == 0); err != nil {
						return err
					}
				}
			}
		}
		return nil
	})
	return all, err
}

// look adds a run, and before the first of checkpointctl reads all once.
func (l *lab) look(k look, to *Series, first bool) error {
	if first && k.peer == ours {
		if _, err := execute(l.ctx, k.args...); err != nil && !isNothing(err) {
			return err
		}
	}
	r, err := execute(l.ctx, k.args...)
	switch {
	case err == nil || k.op == "search" && isNothing(err):
		to.add(sample{total: micros(r.took), peak: r.peak})
		log.Printf("%s of %s: %s", k.op, k.peer, ms(micros(r.took)))
	case k.peer == ours || l.ctx.Err() != nil:
		return err
	default:
		to.Refused = reason(err)
	}
	return nil
}

// isNothing says that a search found nothing: exit status 1, and no word.
func isNothing(err error) bool {
	var exit *exec.ExitError
	return errors.As(err, &exit) && exit.ExitCode() == 1 && strings.HasSuffix(err.Error(), "exit status 1: ")
}

// looks are the commands, of the peers that are there.
func (b *box) looks(dir string) ([]look, error) {
	at := func(args ...string) []string { return append([]string{b.binary, "--dir", dir}, args...) }
	list := []look{{"ps", ours, b.runs, at("show", b.name, "a", "ps")}}
	if b.mib > 0 {
		list = []look{{"search", ours, b.runs, at("grep", b.name, "a", nowhere)}, {"diff", ours, b.runs, at("diff", b.name, "a", "b", "--json")}}
	}
	if program, err := exec.LookPath(crit); err != nil {
		b.absent[crit] = "not on PATH"
	} else if b.mib == 0 && b.peers.has(crit) {
		list = append(list, look{"ps", crit, b.runs, []string{program, "x", filepath.Join(dir, b.name, "a"), "ps"}})
	}
	program := otherProgram()
	if program == "" {
		b.absent[other] = "not on PATH"
		return list, nil
	}
	if !b.peers.has(other) {
		return list, nil
	}
	var files []string
	for _, name := range []string{"a", "b"} {
		file := filepath.Join(dir, name+".tar")
		if _, err := execute(b.ctx, at("export", b.name, name, "-o", file, "--compress", "none")...); err != nil {
			return nil, err
		}
		files = append(files, file)
	}
	if b.mib == 0 {
		return append(list, look{"ps", other, b.runs, []string{program, "inspect", "--ps-tree-cmd", files[0]}}), nil
	}
	// It takes minutes for each GiB.
	return append(list, look{"search", other, 1, []string{program, "memparse", "--search", nowhere, "--pid", "1", files[0]}},
		look{"diff", other, 1, append([]string{program, "diff"}, files...)}), nil
}

// otherProgram is that of the same name, which can parse memory; empty if there is none.
func otherProgram() string {
	for _, dir := range filepath.SplitList(os.Getenv("PATH")) {
		program := filepath.Join(dir, "checkpointctl")
		if help, err := exec.Command(program, "--help").Output(); err == nil && strings.Contains(string(help), "memparse") {
			return program
		}
	}
	return ""
}
