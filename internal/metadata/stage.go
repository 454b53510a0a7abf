package metadata

import (
	"bufio"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/gofrs/flock"
	"golang.org/x/sys/unix"
)

// lockRetry is how often a lock is tried that others hold for moments.
const lockRetry = 5 * time.Millisecond

// ErrNoStage is a want of memory for images that must not reach a disk.
var ErrNoStage = errors.New("no place for unencrypted images")

// stageDirs are tried in this order when no other is named.
var stageDirs = [...]string{"/run/checkpointctl", "/dev/shm/checkpointctl"}

const stagePrefix = "stage-"

// Stage is a directory for images on their way into or out of an encrypted
// checkpoint.
type Stage struct {
	Dir  string // empty, private
	top  string
	lock *flock.Flock
}

// NewStage makes a stage with room for so many bytes, in memory; or in dir,
// wherever that is, if it is not empty. What killed runs left there is removed.
func NewStage(ctx context.Context, dir string, need int64) (*Stage, error) {
	dir, err := stageDir(dir)
	if err != nil {
		return nil, err
	}
	if err := (Store{Dir: dir}).own(); err != nil {
		return nil, err
	}
	l := flock.New(filepath.Join(dir, lockFile), flock.SetPermissions(0o600))
	if _, err := l.TryLockContext(ctx, lockRetry); err != nil {
		return nil, fmt.Errorf("waiting for who prepares a stage in %s: %w", dir, err)
	}
	defer func() { _ = l.Unlock() }()
	for _, left := range abandoned(dir) {
		_ = os.RemoveAll(left)
	}
	if err := room(dir, need, "the container has"); err != nil {
		return nil, err
	}
	s := &Stage{top: filepath.Join(dir, stagePrefix+rand.Text())}
	s.Dir = filepath.Join(s.top, "images")
	if err := os.MkdirAll(s.Dir, 0o700); err != nil {
		return nil, err
	}
	s.lock = flock.New(filepath.Join(s.top, lockFile), flock.SetPermissions(0o600))
	_, err = s.lock.TryLockContext(ctx, lockRetry)
	return s, err
}

// Empty removes what is in the stage, for another try.
func (s *Stage) Empty() error {
	return errors.Join(os.RemoveAll(s.Dir), os.Mkdir(s.Dir, 0o700))
}

// Remove removes the stage with all that is in it.
func (s *Stage) Remove() error {
	return errors.Join(os.RemoveAll(s.top), s.lock.Unlock())
}

// AbandonedStages lists what killed runs left in a stage directory, or in those
// that are taken by themselves if dir is empty. Nobody takes them up again.
func AbandonedStages(ctx context.Context, dir string) []string {
	var list []string
	dirs := stageDirs[:]
	if dir != "" {
		dirs = []string{dir}
	}
	for _, d := range dirs {
		l := flock.New(filepath.Join(d, lockFile), flock.SetPermissions(0o600))
		if _, err := os.Stat(d); err != nil || CheckSafe(d) != nil {
			continue
		}
		if _, err := l.TryLockContext(ctx, lockRetry); err == nil {
			list = append(list, abandoned(d)...)
			_ = l.Unlock()
		}
	}
	return list
}

// abandoned lists the stages whose lock nobody holds. The directory's is held.
func abandoned(dir string) []string {
	var list []string
	found, _ := filepath.Glob(filepath.Join(dir, stagePrefix+"*"))
	for _, top := range found {
		l := flock.New(filepath.Join(top, lockFile), flock.SetPermissions(0o600))
		if ok, err := l.TryLock(); ok && err == nil {
			list = append(list, top)
			_ = l.Unlock()
		}
	}
	return list
}

func stageDir(named string) (string, error) {
	if named != "" {
		return filepath.Abs(named)
	}
	for _, dir := range stageDirs {
		if inMemory(filepath.Dir(dir)) {
			return dir, nil
		}
	}
	return "", fmt.Errorf("%w: none of %s is in memory; name a tmpfs, or a directory on a disk if that may hold them for the while", ErrNoStage, strings.Join(stageDirs[:], ", "))
}

func inMemory(dir string) bool {
	var fs unix.Statfs_t
	return unix.Statfs(dir, &fs) == nil && (fs.Type == unix.TMPFS_MAGIC || fs.Type == unix.RAMFS_MAGIC)
}

// room says whether so many bytes fit into a directory, and into memory if it
// is there.
func room(dir string, need int64, what string) error {
	var fs unix.Statfs_t
	if err := unix.Statfs(dir, &fs); err != nil {
		return err
	}
	free := int64(fs.Bavail) * fs.Bsize
	if inMemory(dir) {
		available := memAvailable()
		if fs.Blocks == 0 { // ramfs, or a tmpfs without a limit
			free = available
		}
		free = min(free, available)
	}
	if free < need {
		return fmt.Errorf("%w: %s has room for %d MiB, %s %d MiB", ErrNoStage, dir, free>>20, what, need>>20)
	}
	return nil
}

// memAvailable is what can be allocated without swapping, proc_meminfo(5).
func memAvailable() int64 {
	f, err := os.Open("/proc/meminfo")
	if err != nil {
		return 0
	}
	defer f.Close()
	for sc := bufio.NewScanner(f); sc.Scan(); {
		if fields := strings.Fields(sc.Text()); len(fields) > 1 && fields[0] == "MemAvailable:" {
			n, _ := strconv.ParseInt(fields[1], 10, 64)
			return n << 10
		}
	}
	return 0
}
