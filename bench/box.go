package main

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"syscall"
	"time"
)

// beatInside is where the workload beats, in the container: a file that lies
// on a tmpfs of the host, so that the disk holds no beat up.
const beatInside = "/beat/file"

// box is a container that beats.
type box struct {
	*lab
	spec
	cli      []string // docker, or podman with its options
	name, id string
	beatFile string
	bare     []string // arguments of criu dump
	resting  bool
}

// start runs a container and waits for its first beat.
func (l *lab) start(s spec, engine string, number int) (*box, error) {
	name := fmt.Sprintf("%s%s-%s-%d", prefix, engine, s.name, number)
	b := &box{lab: l, spec: s, name: name, cli: l.engines[engine]}
	beats := filepath.Join(l.shm, name)
	if err := os.Mkdir(beats, 0o700); err != nil {
		return nil, err
	}
	b.beatFile = filepath.Join(beats, filepath.Base(beatInside))
	args := append([]string{}, b.cli...)
	args = append(args, "run", "-d", "--name", name, "-v", beats+":"+filepath.Dir(beatInside))
	if s.image == "apps" {
		args = append(args, "-v", l.workload+":/workload:ro")
	}
	args = append(append(args, l.runFlags[engine]...), l.images[engine+"/"+s.image])
	r, err := execute(l.ctx, append(args, s.command...)...)
	if err != nil {
		return nil, err
	}
	l.atEnd(b.remove)
	b.id = r.stdout
	return b, b.awaitBeat([24]byte{}, 2*time.Minute)
}

func (b *box) engine(args ...string) (ran, error) {
	return execute(b.ctx, append(append([]string{}, b.cli...), args...)...)
}

func (b *box) remove() {
	_, _ = execute(b.always, append(append([]string{}, b.cli...), "rm", "-f", "-v", b.name)...)
	_ = os.RemoveAll(filepath.Dir(b.beatFile))
}

// rest pauses the container while another is measured, or lets it go on.
func (b *box) rest(want bool) error {
	if b == nil || b.resting == want {
		return nil
	}
	verb := "unpause"
	if want {
		verb = "pause"
	}
	_, err := b.engine(verb, b.name)
	b.resting = want
	return err
}

// kill ends the container and returns when its engine knows.
func (b *box) kill() error {
	if _, err := b.engine("kill", b.name); err != nil {
		return err
	}
	_, err := b.engine("wait", b.name)
	return err
}

func (b *box) pid() (int, error) {
	r, err := b.engine("inspect", "-f", "{{.State.Pid}}", b.name)
	if err != nil {
		return 0, err
	}
	return strconv.Atoi(r.stdout)
}

func (b *box) beat() [24]byte {
	var now [24]byte
	if f, err := os.Open(b.beatFile); err == nil {
		_, _ = f.Read(now[:])
		_ = f.Close()
	}
	return now
}

// awaitBeat waits until the beat is another than it was.
func (b *box) awaitBeat(was [24]byte, limit time.Duration) error {
	for end := time.Now().Add(limit); time.Now().Before(end) && b.ctx.Err() == nil; time.Sleep(500 * time.Microsecond) {
		if b.beat() != was {
			return nil
		}
	}
	r, _ := b.engine("logs", b.name)
	return errors.Join(b.ctx.Err(), fmt.Errorf("%s does not beat: %s", b.name, r.stdout))
}

func number(beat [24]byte, i int) int64 { return int64(binary.LittleEndian.Uint64(beat[8*i:])) }

// whole runs f and returns the longest gap that the program saw meanwhile.
func (b *box) whole(f func() error) (int64, error) {
	pid, err := b.pid()
	if err != nil {
		return 0, err
	}
	resets := number(b.beat(), 2)
	if err := syscall.Kill(pid, syscall.SIGUSR1); err != nil {
		return 0, err
	}
	for range 5000 {
		if number(b.beat(), 2) > resets {
			break
		}
		time.Sleep(time.Millisecond)
	}
	if number(b.beat(), 2) == resets {
		return 0, fmt.Errorf("%s does not hear signals", b.name)
	}
	if err := f(); err != nil {
		return 0, err
	}
	// Two beats more, so that the gap is written down.
	for range 2 {
		if err := b.awaitBeat(b.beat(), 10*time.Second); err != nil {
			return 0, err
		}
	}
	return number(b.beat(), 1), nil
}

// dumpArgs are criu's arguments for what checkpointctl would ask of it.
func (b *box) dumpArgs() ([]string, error) {
	if b.bare != nil {
		return b.bare, nil
	}
	c, err := b.inspect(b.name)
	if err != nil {
		return nil, err
	}
	lock := "skip"
	if b.tcp {
		lock = "iptables"
	}
	b.bare = []string{
		"-o", "dump.log", "-v4", "-t", strconv.Itoa(c.PID), "--root", c.RootFS, "--leave-running", "--network-lock", lock,
		"--manage-cgroups=soft", "--empty-ns", "net", "--tcp-established", "--file-locks",
	}
	for _, m := range c.Mounts {
		if m.Action == "external" {
			b.bare = append(b.bare, "--external", "mnt["+m.Key+"]:"+m.Value)
		}
	}
	return b.bare, nil
}
