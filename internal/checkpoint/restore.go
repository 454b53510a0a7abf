package checkpoint

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/checkpointctl/checkpointctl/internal/docker"
	"github.com/checkpointctl/checkpointctl/internal/metadata"
	"github.com/checkpointctl/checkpointctl/internal/mounts"
)

// ErrIncompatible is a checkpoint that this container or host cannot take.
var ErrIncompatible = errors.New("checkpoint does not fit")

type restorer interface {
	Restore(context.Context, docker.RestoreRequest) ([]byte, error)
	Volumes(ctx context.Context, id string) ([]docker.Volume, error)
}

// Restorer brings checkpoints back.
type Restorer struct {
	Docker restorer
	Store  metadata.Store
	Opener Opener // of encrypted checkpoints
	// NoVerify compares sizes and links with the record, but reads nothing.
	NoVerify bool
	// KeepFiles restores also when files changed since the checkpoint.
	KeepFiles bool
	// Warn, if set, hears of what does not stop the restore.
	Warn func(string)
	// Waiting, if set, is called when the context ends while Docker restores,
	// which is waited for all the same.
	Waiting func()
}

// Restore verifies the checkpoint, starts the stopped container from it and
// keeps CRIU's log in it. After an error the container is stopped, as before; it
// is a *changes.RefusedError if files do not go with the memory any more.
// Once Docker has been asked, its end is waited for even if the context ends.
func (r *Restorer) Restore(ctx context.Context, c docker.Container, rec metadata.Record, tcpClose bool) error {
	if err := fits(rec, c, thisHost()); err != nil {
		return err
	}
	chain, err := r.Store.Chain(rec)
	if err != nil {
		return err
	}
	for _, link := range chain {
		if err := r.verify(link); err != nil {
			return err
		}
	}
	from := source{dir: r.Store.Path(rec.Name, rec.Checkpoint), Record: rec}
	from.within = filepath.Dir(from.dir)
	from.keepLog = func(log []byte) error { return os.WriteFile(filepath.Join(from.dir, docker.RestoreLog), log, 0o600) }
	if rec.Encrypted {
		stage, sealed, plain, err := r.Opener.open(r.Store, rec)
		if err != nil {
			return fmt.Errorf("%s/%s: %w", rec.Name, rec.Checkpoint, err)
		}
		defer func() { _ = stage.Remove() }()
		from = source{dir: stage.Dir, within: stage.Dir, Record: plain}
		from.keepLog = func(log []byte) error { return sealed.Add(docker.RestoreLog, log) }
		if problems := imageProblems(stage.Dir, plain); problems != nil && !r.NoVerify {
			return damaged(rec, problems)
		}
	}
	if err := r.unchanged(ctx, c, from); err != nil {
		return err
	}
	return r.restore(ctx, c, from, tcpClose)
}

// source is where the images are, as CRIU wrote them, and what to do with the
// log of a restore from them.
type source struct {
	metadata.Record
	dir, within string
	keepLog     func([]byte) error
}

func (r *Restorer) restore(ctx context.Context, c docker.Container, from source, tcpClose bool) error {
	unlock, err := r.Store.Lock(from.Name)
	if err != nil {
		return err
	}
	defer unlock()
	_, ownNet := namespaces(c)
	log, err := r.Docker.Restore(ctx, docker.RestoreRequest{
		ContainerID: c.ID, ImageDir: from.dir, Within: from.within, LinkAll: from.Encrypted,
		Bundle: from.BundlePath, CRIUConfig: criuConfig(from.Record, tcpClose),
		LockNetwork: ownNet && !tcpClose && restoresTCP(from.Record) && from.Options.NetworkLock != lockSkip, Waiting: r.Waiting,
	})
	if log != nil {
		_ = from.keepLog(log)
	}
	return err
}

// goneSources are the host's files and directories that the container mounts
// and that are not there any more. Docker would put an empty directory in the
// place of one. Its own, below a directory named by the container's ID, it
// makes again.
func goneSources(rec metadata.Record, c docker.Container) []string {
	var gone []string
	for _, m := range rec.Mounts {
		if m.Source == "" || c.ID != rec.ID || strings.Contains(m.Source, rec.ID) {
			continue
		}
		if _, err := os.Stat(m.Source); errors.Is(err, os.ErrNotExist) {
			gone = append(gone, m.Source)
		}
	}
	return gone
}

func (r *Restorer) verify(rec metadata.Record) error {
	depth := metadata.Checksums
	if r.NoVerify {
		depth = metadata.Sizes
	}
	// What is inside of an encrypted one is checked when it is open.
	problems, err := Opener{}.Verify(r.Store, rec, depth)
	if problems != nil {
		return damaged(rec, problems)
	}
	return err
}

func damaged(rec metadata.Record, problems []string) error {
	return fmt.Errorf("%w: %s/%s: %s", metadata.ErrDamaged, rec.Name, rec.Checkpoint, strings.Join(problems, ", "))
}

// criuConfig is what CRIU must know for this restore beside what runc tells it.
func criuConfig(rec metadata.Record, tcpClose bool) []string {
	var lines []string
	switch {
	case tcpClose:
		lines = append(lines, "tcp-close")
	case restoresTCP(rec):
		lines = append(lines, "tcp-established")
	}
	// Without it CRIU restores the file and silently leaves the lock out.
	if rec.Options.FileLocks && hasLocks(rec) {
		lines = append(lines, "file-locks")
	}
	for _, m := range rec.Mounts {
		if m.Action != string(mounts.External) || m.Source == "" {
			continue
		}
		// CRIU binds the link itself where runc bound what it points to
		// (Debian's docker-init is one).
		info, err := os.Lstat(m.Source)
		if err != nil || info.Mode()&os.ModeSymlink == 0 {
			continue
		}
		if target, err := filepath.EvalSymlinks(m.Source); err == nil && !strings.ContainsAny(m.Key+target, " \t\n\"\\#") {
			lines = append(lines, fmt.Sprintf("external mnt[%s]:%s", m.Key, target))
		}
	}
	return lines
}

// tcpStream begins the name of the image that CRIU writes for each established
// connection.
const tcpStream = "tcp-stream-"

// hasTCP says whether the images hold an established connection.
func hasTCP(rec metadata.Record) bool {
	return slices.ContainsFunc(rec.Files, func(f metadata.File) bool { return strings.HasPrefix(f.Name, tcpStream) })
}

func restoresTCP(rec metadata.Record) bool { return rec.Options.TCPEstablished && hasTCP(rec) }

// hasLocks says whether the image of file locks holds more than its two
// 4-byte magics.
func hasLocks(rec metadata.Record) bool {
	return slices.ContainsFunc(rec.Files, func(f metadata.File) bool { return f.Name == "filelocks.img" && f.SizeBytes > 8 })
}

// fits returns a *docker.StateError, or ErrIncompatible with the reason.
func fits(rec metadata.Record, c docker.Container, h host) error {
	no := func(format string, args ...any) error {
		return fmt.Errorf("%w: %s/%s %s", ErrIncompatible, rec.Name, rec.Checkpoint, fmt.Sprintf(format, args...))
	}
	switch {
	case rec.Kind == metadata.KindPreDump:
		return no("holds rounds of a pre-dump alone; checkpointctl checkpoint --parent %s would continue it", rec.Checkpoint)
	case c.State == "running" || c.State == "paused" || c.State == "restarting":
		return &docker.StateError{Name: c.Name, Is: "is " + c.State + "; only a stopped one can be restored", Hint: "docker stop " + c.Name}
	case c.ID != rec.ID && c.ImageDigest != rec.ImageDigest:
		return no("is of a container of image %s, this one is of %s", rec.ImageDigest, c.ImageDigest)
	case rec.Architecture != h.architecture:
		return no("is of architecture %s, this host is %s", rec.Architecture, h.architecture)
	}
	if gone := goneSources(rec, c); gone != nil {
		return no("had %s mounted, which is gone", strings.Join(gone, ", "))
	}
	var missing []string
	for _, f := range rec.CPUFeatures {
		if !slices.Contains(h.cpuFeatures, f) {
			missing = append(missing, f)
		}
	}
	if missing != nil {
		return no("was made on a CPU with %s, which this one lacks", strings.Join(missing, " "))
	}
	return nil
}
