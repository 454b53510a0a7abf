package main

import (
	"context"
	"errors"
	"fmt"
	"log"
	"maps"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/gofrs/flock"
	"golang.org/x/sys/unix"

	"github.com/checkpointctl/checkpointctl/test/images"
)

// prefix begins the name of everything that is made in Docker and Podman.
const prefix = "ckpt-bench-"

// places of a run. The images lie on the filesystem of the default store.
const (
	workDir = "/var/lib/" + prefix + "work"
	shmDir  = "/dev/shm/" + prefix + "beats"
	podRun  = "/run/" + prefix + "podman"
	podNet  = prefix + "podman" // a network namespace: Podman leaves rules and a bridge in it
)

// lab is what all cases share.
type lab struct {
	ctx        context.Context // ends with an interrupt
	always     context.Context // for what is done in spite of one
	dir, shm   string
	binary     string
	programs   []string // all that checkpointctl runs of its own
	workload   string
	dockerRoot string
	engines    map[string][]string // how docker and podman are called
	runFlags   map[string][]string // of an engine's run
	images     map[string]string   // by ENGINE/IMAGE
	absent     map[string]string   // peers, and why
	short      bool
	peers      list // to be measured
	cleanups   []func()
}

func newLab(ctx context.Context, o options) (*lab, error) {
	l := &lab{
		ctx: ctx, always: context.WithoutCancel(ctx), dir: workDir, shm: shmDir, short: o.short, peers: o.peers,
		engines: map[string][]string{"docker": {"docker"}, "podman": {
			"nsenter", "--net=/run/netns/" + podNet, "podman", "--root", workDir + "/podman", "--runroot", podRun, "--cgroup-manager=cgroupfs", "--events-backend=none",
		}},
		// Podman's default limits need CAP_SYS_RESOURCE.
		runFlags: map[string][]string{"podman": {"--ulimit=nofile=1024:4096", "--ulimit=nproc=4096:4096"}},
		images:   map[string]string{}, absent: map[string]string{},
	}
	if os.Geteuid() != 0 {
		return l, errors.New("must run as root")
	}
	lock := flock.New("/run/" + prefix + "lock")
	if ok, err := lock.TryLock(); err != nil || !ok {
		return l, errors.Join(errors.New("another benchmark is running"), err)
	}
	l.atEnd(func() { _ = lock.Unlock() })
	l.sweep() // after a run that was killed
	l.atEnd(l.sweep)
	for _, dir := range []string{l.dir, l.shm} {
		if err := os.Mkdir(dir, 0o700); err != nil {
			return l, err
		}
	}
	return l, l.prepare(o.top)
}

// prepare builds what is measured, and the images.
func (l *lab) prepare(top string) error {
	log.Print("preparing: building checkpointctl and the images")
	r, err := execute(l.ctx, "docker", "info", "-f", "{{.DockerRootDir}}")
	if err != nil {
		return err
	}
	l.dockerRoot = r.stdout
	if l.binary, err = filepath.Abs(filepath.Join(top, "bin", "checkpointctl")); err != nil {
		return err
	}
	l.programs = []string{l.binary, filepath.Join(filepath.Dir(filepath.Dir(l.binary)), "libexec", "checkpointctl", "checkpointctl-runtime")}
	if out, err := exec.Command("make", "-C", top, "build").CombinedOutput(); err != nil {
		return fmt.Errorf("make build: %w: %s", err, out)
	}
	e2e := filepath.Join(top, "test", "e2e")
	if l.workload, err = images.Workload(e2e, l.dir); err != nil {
		return err
	}
	if l.images["docker/base"], err = images.Base(e2e, l.dir); err != nil {
		return err
	}
	if !l.short {
		if l.images["docker/apps"], err = images.Apps(e2e, l.dir); err != nil {
			return err
		}
	}
	return l.preparePodman()
}

// preparePodman hands Docker's images on, where there is a Podman.
func (l *lab) preparePodman() error {
	if _, err := exec.LookPath("podman"); err != nil {
		l.absent[podman] = "podman is not installed"
		delete(l.engines, "podman")
		return nil
	}
	for _, args := range [][]string{{"ip", "netns", "add", podNet}, {"ip", "-n", podNet, "link", "set", "lo", "up"}} {
		if _, err := execute(l.ctx, args...); err != nil {
			return err
		}
	}
	for name, image := range maps.Clone(l.images) {
		file := filepath.Join(l.dir, "image.tar")
		_, err := execute(l.ctx, "docker", "save", "-o", file, image)
		if err == nil {
			_, err = execute(l.ctx, append(append([]string{}, l.engines["podman"]...), "load", "-q", "-i", file)...)
		}
		_ = os.Remove(file)
		if err != nil {
			return err
		}
		l.images["podman"+strings.TrimPrefix(name, "docker")] = "localhost/" + image
	}
	return nil
}

func (l *lab) atEnd(f func()) { l.cleanups = append(l.cleanups, f) }

// close undoes everything, last things first.
func (l *lab) close() {
	for i := len(l.cleanups) - 1; i >= 0; i-- {
		l.cleanups[i]()
	}
	l.cleanups = nil
}

// scoped runs f and undoes what was made meanwhile.
func (l *lab) scoped(f func() error) error {
	outer := l.cleanups
	l.cleanups = nil
	defer func() {
		l.close()
		l.cleanups = outer
	}()
	return f()
}

// sweep removes everything that a run can have made.
func (l *lab) sweep() {
	for engine, cli := range l.engines {
		if _, err := os.Stat("/run/netns/" + podNet); engine == "podman" && err != nil {
			continue
		}
		list, _ := exec.Command(cli[0], append(append([]string{}, cli[1:]...), "ps", "-aq", "--filter", "name="+prefix)...).Output()
		if ids := strings.Fields(string(list)); len(ids) > 0 {
			_ = exec.Command(cli[0], append(append(append([]string{}, cli[1:]...), "rm", "-f", "-v"), ids...)...).Run()
		}
	}
	for _, mount := range []string{podRun, filepath.Join(workDir, "podman", "overlay")} {
		_ = unix.Unmount(mount, unix.MNT_DETACH) // Podman binds it onto itself
	}
	removeLeaked()
	_ = exec.Command("ip", "netns", "del", podNet).Run()
	for _, dir := range []string{workDir, shmDir, podRun} {
		if err := os.RemoveAll(dir); err != nil {
			log.Print("left over: ", err)
		}
	}
}

// marker is a file in the images that Docker restores here. containerd leaves
// its copy of them behind, see https://github.com/containerd/containerd/issues/10166.
const marker = "checkpointctl-bench"

func removeLeaked() {
	leaked, _ := filepath.Glob("/tmp/ctrd-checkpoint*/" + marker)
	for _, f := range leaked {
		_ = os.RemoveAll(filepath.Dir(f))
	}
}

// settle writes out what runs before have left in the page cache.
func (l *lab) settle() error {
	f, err := os.Open(l.dir)
	if err != nil {
		return err
	}
	defer f.Close()
	return unix.Syncfs(int(f.Fd()))
}

// fresh gives f an empty directory, with all caches alike, and removes it.
func (l *lab) fresh(f func(dir string) error) error {
	dir := filepath.Join(l.dir, "images")
	if err := os.Mkdir(dir, 0o700); err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	if err := l.settle(); err != nil {
		return err
	}
	return f(dir)
}

// writeSpeed writes so many bytes of memory into a new file, and then syncs it.
func (l *lab) writeSpeed(dir string, size int64) (written, all time.Duration, err error) {
	buf := make([]byte, 1<<20)
	_, _ = rand.NewChaCha8([32]byte{}).Read(buf)
	f, err := os.Create(filepath.Join(dir, "pages"))
	if err != nil {
		return 0, 0, err
	}
	defer f.Close()
	began := time.Now()
	for done := int64(0); done < size; done += int64(len(buf)) {
		if _, err := f.Write(buf); err != nil {
			return 0, 0, err
		}
	}
	written = time.Since(began)
	err = f.Sync()
	return written, time.Since(began), err
}

func timed(f func() error) (time.Duration, error) {
	began := time.Now()
	err := f()
	return time.Since(began), err
}
