package main

import (
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/checkpoint-restore/go-criu/v7/stats"
	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"
)

// Peers, as the JSON names them.
const (
	ours     = "checkpointctl"
	unsynced = ours + " --sync none"
	bare     = "criu dump"
	staged   = "criu dump to a tmpfs"
	docker   = "docker checkpoint"
	runc     = "runc checkpoint"
	podman   = "podman checkpoint"
	limit    = "write(2)"
)

// peer makes a checkpoint of a box and lets it run on. dir is an empty
// directory that is removed afterwards.
type peer struct {
	name   string
	runs   int
	box    *box
	create func(b *box, dir string) (sample, error)
	gone   bool // refused once
}

func byCheckpointctl(b *box, _ string) (sample, error) { return b.checkpoint() }

func byUnsynced(b *box, _ string) (sample, error) { return b.checkpoint("--sync", "none") }

// checkpoint keeps one store for all runs, as users do: what checkpointctl
// remembers of CRIU is there.
func (b *box) checkpoint(flags ...string) (sample, error) {
	store := filepath.Join(b.dir, "kept")
	defer os.RemoveAll(filepath.Join(store, b.name))
	args := []string{b.binary, "--dir", store, "checkpoint", b.name, "--name", "one", "--json"}
	r, err := execute(b.ctx, append(args, flags...)...)
	if err != nil {
		return nil, err
	}
	var made []struct{ Record record }
	if err := json.Unmarshal([]byte(r.stdout), &made); err != nil {
		return nil, err
	}
	rec := made[0].Record
	s := sample{
		total: micros(r.took), frozen: rec.Stats.FreezingUS + rec.Stats.FrozenUS,
		disk: rec.SizeBytes, peak: r.peak,
	}
	var st unix.Statx_t
	log := filepath.Join(store, b.name, "one", "dump.log")
	if err := unix.Statx(unix.AT_FDCWD, log, 0, unix.STATX_BTIME, &st); err == nil && st.Mask&unix.STATX_BTIME != 0 {
		s[toCRIU] = st.Btime.Sec*1e6 + int64(st.Btime.Nsec)/1000 - r.began.UnixMicro()
	}
	return s, nil
}

func byCRIU(b *box, dir string) (sample, error) {
	args, err := b.dumpArgs()
	if err != nil {
		return nil, err
	}
	r, err := execute(b.ctx, append([]string{"criu", "dump", "-D", dir}, args...)...)
	if err != nil {
		return nil, err
	}
	return b.images1(dir, dir, r)
}

// byStagedCRIU writes the images to memory first, as a stage would.
func byStagedCRIU(b *box, _ string) (sample, error) {
	dir := filepath.Join(b.shm, "images")
	defer os.RemoveAll(dir)
	if err := os.Mkdir(dir, 0o700); err != nil {
		return nil, err
	}
	return byCRIU(b, dir)
}

func byRunc(b *box, dir string) (sample, error) {
	root, err := runcRoot(b.id)
	if err != nil {
		return nil, err
	}
	images, work := filepath.Join(dir, "images"), filepath.Join(dir, "work")
	r, err := execute(b.ctx, "runc", "--root", root, "checkpoint", "--leave-running", "--tcp-established", "--file-locks",
		"--image-path", images, "--work-path", work, b.id)
	if err != nil {
		return nil, err
	}
	return b.images1(images, work, r)
}

func runcRoot(id string) (string, error) {
	found, _ := filepath.Glob(filepath.Join("/run/docker*/runtime-*/moby", id))
	if found == nil {
		return "", errors.New("runc's root of Docker is not under /run/docker")
	}
	return filepath.Dir(found[0]), nil
}

func byDocker(b *box, _ string) (sample, error) {
	r, err := execute(b.ctx, "docker", "checkpoint", "create", "--leave-running", b.name, "bench")
	if err != nil {
		return nil, err
	}
	s := sample{total: micros(r.took)}
	if s[disk], err = diskUsage(b.ctx, filepath.Join(b.dockerDir(), "bench")); err != nil {
		return nil, err
	}
	_, err = execute(b.ctx, "docker", "checkpoint", "rm", b.name, "bench")
	return s, err
}

func (b *box) dockerDir() string {
	return filepath.Join(b.dockerRoot, "containers", b.id, "checkpoints")
}

func byPodman(b *box, _ string) (sample, error) {
	args := []string{"container", "checkpoint", "--leave-running", "--print-stats", "--file-locks"}
	if b.tcp {
		args = append(args, "--tcp-established")
	}
	r, err := b.engine(append(args, b.name)...)
	if err != nil {
		return nil, err
	}
	var out struct {
		Stats []struct {
			CRIU struct {
				Freezing int64 `json:"freezing_time"`
				Frozen   int64 `json:"frozen_time"`
			} `json:"criu_statistics"`
		} `json:"container_statistics"`
	}
	if err := json.Unmarshal([]byte(r.stdout), &out); err != nil {
		return nil, err
	}
	s := sample{total: micros(r.took)}
	for _, one := range out.Stats {
		s[frozen] = one.CRIU.Freezing + one.CRIU.Frozen
	}
	dir, err := b.engine("inspect", "-f", "{{.State.CheckpointPath}}", b.name)
	if err != nil {
		return nil, err
	}
	s[disk], err = diskUsage(b.ctx, dir.stdout)
	return s, errors.Join(err, os.RemoveAll(dir.stdout))
}

// byWrite is the limit: as much memory written to a file, and nothing else.
func byWrite(b *box, dir string) (sample, error) {
	took, all, err := b.writeSpeed(dir, int64(b.mib)<<20)
	return sample{total: micros(took), synced: micros(all)}, err
}

// images1 are the figures of images that the peer wrote and did not sync.
func (b *box) images1(images, work string, r ran) (sample, error) {
	f, err := os.Open(work)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	st, err := stats.CriuGetDumpStats(f)
	if err != nil {
		return nil, err
	}
	s := sample{total: micros(r.took), frozen: int64(st.GetFreezingTime()) + int64(st.GetFrozenTime())}
	took, err := timed(func() error { return syncAll(images) })
	if err != nil {
		return nil, err
	}
	s[synced] = s[total] + micros(took)
	s[disk], err = diskUsage(b.ctx, images)
	return s, err
}

// syncAll syncs files as checkpointctl does, many at once.
func syncAll(dir string) error {
	var g errgroup.Group
	g.SetLimit(32)
	err := filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err == nil && (e.IsDir() || e.Type().IsRegular()) {
			g.Go(func() error { return syncFile(path) })
		}
		return err
	})
	return errors.Join(err, g.Wait())
}

func syncFile(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	return f.Sync()
}

// record is the part of checkpointctl's record that is read here.
type record struct {
	SizeBytes int64 `json:"size_bytes"`
	Stats     struct {
		FreezingUS int64 `json:"freezing_us"`
		FrozenUS   int64 `json:"frozen_us"`
	} `json:"stats"`
}

// inspected is the part of `checkpointctl inspect` that is read here.
type inspected struct {
	PID    int    `json:"pid"`
	RootFS string `json:"rootfs"`
	Mounts []struct {
		Action, Key, Value string
	} `json:"mounts"`
}

func (l *lab) inspect(name string) (inspected, error) {
	var c inspected
	r, err := execute(l.ctx, l.binary, "inspect", name, "--json")
	if err != nil {
		return c, err
	}
	return c, json.NewDecoder(strings.NewReader(r.stdout)).Decode(&c)
}
