package runtime

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// FetchDir holds a directory for each container that was restored with lazy
// pages, until its memory is whole. Only root can look into it, and it does not
// survive a reboot.
const FetchDir = "/run/checkpointctl/lazy"

// LazyPagesLog is the name of the log of `criu lazy-pages`.
const LazyPagesLog = "lazy-pages.log"

const (
	fetchFile   = "fetch.json"
	watcherFile = "watcher.lock" // locked by the agent as long as it watches
)

// Fetch is the memory of a running container that `criu lazy-pages` brings from
// a checkpoint.
type Fetch struct {
	Container  string `json:"container"` // its name
	ID         string `json:"id"`
	Checkpoint string `json:"checkpoint"` // CONTAINER/CHECKPOINT
	ImageDir   string `json:"image_dir"`
	TotalBytes int64  `json:"total_bytes"`
	Daemon     Task   `json:"daemon"` // criu lazy-pages
	Init       Task   `json:"init"`   // of the container; zero until it is restored
	// Error says why it ended early; the container was killed for it.
	Error string `json:"error,omitempty"`

	dir string
}

// State is how far a Fetch is.
type State string

// States of a Fetch.
const (
	Fetching State = "fetching"
	// Lost: the daemon ended before it was done, or nobody saw how it ended.
	// Pages that it had not fetched read as zeros.
	Lost State = "lost"
	Over State = "over" // the container has ended, too
)

// FetchPath names a file in the fetch directory of a container.
func FetchPath(id, file string) string { return filepath.Join(FetchDir, id, file) }

// Fetches returns what is known of all containers that were restored with lazy
// pages and whose memory is not whole.
func Fetches() []Fetch { return fetches(FetchDir, "*") }

// FindFetch is Fetches for one container.
func FindFetch(id string) (Fetch, bool) {
	list := fetches(FetchDir, id)
	if len(list) == 0 {
		return Fetch{}, false
	}
	return list[0], true
}

func fetches(root, id string) []Fetch {
	var list []Fetch
	files, _ := filepath.Glob(filepath.Join(root, id, fetchFile))
	for _, file := range files {
		f := Fetch{dir: filepath.Dir(file)}
		if readJSON(file, &f) == nil {
			list = append(list, f)
		}
	}
	return list
}

// Dir is where it is noted.
func (f Fetch) Dir() string { return f.dir }

// State looks at the processes.
func (f Fetch) State() State {
	switch {
	case f.Error != "":
		return Lost
	case f.Daemon.Alive(), Control{f.dir}.locked(watcherFile):
		return Fetching
	case f.Init.Alive():
		return Lost
	}
	return Over
}

// FetchedBytes is what the daemon has read so far, at most TotalBytes. It reads
// little else than pages. Zero when the daemon has ended.
func (f Fetch) FetchedBytes() int64 {
	if !f.Daemon.Alive() {
		return 0
	}
	data, _ := os.ReadFile(fmt.Sprintf("/proc/%d/io", f.Daemon.PID))
	return min(bytesRead(data), f.TotalBytes)
}

// bytesRead finds rchar in /proc/PID/io.
func bytesRead(data []byte) int64 {
	for line := range bytes.Lines(data) {
		if n, ok := bytes.CutPrefix(line, []byte("rchar:")); ok {
			count, _ := strconv.ParseInt(string(bytes.TrimSpace(n)), 10, 64)
			return count
		}
	}
	return 0
}

// Percent is the share of fetched in total, 100 for a total of nothing.
func Percent(fetched, total int64) int {
	if total <= 0 {
		return 100
	}
	return int(min(fetched, total) * 100 / total)
}

// Forget removes what is known of the fetch, unless it is under way or has begun
// again.
func (f Fetch) Forget() error {
	if w, err := watch(f.dir, 0); err == nil {
		return w.End()
	} else if !errors.Is(err, ErrBusy) && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	return nil
}

// Watcher owns the fetch of a container.
type Watcher struct {
	dir  string
	lock *os.File
}

// Watch begins a fetch in a directory of its own. An earlier one of the
// container, whose tasks have ended, is over soon: it is waited for. ErrBusy if
// it is not.
func Watch(id string) (*Watcher, error) {
	dir := filepath.Join(FetchDir, id)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	w, err := watch(dir, 10*time.Second)
	if err == nil {
		_ = os.Remove(filepath.Join(dir, fetchFile))
	}
	return w, err
}

func watch(dir string, limit time.Duration) (*Watcher, error) {
	for end := time.Now().Add(limit); ; time.Sleep(20 * time.Millisecond) {
		f, err := os.OpenFile(filepath.Join(dir, watcherFile), os.O_CREATE|os.O_RDWR, 0o600)
		if limit > 0 && errors.Is(err, os.ErrNotExist) { // the earlier one ended just now
			err = errors.Join(os.MkdirAll(dir, 0o700), unix.EWOULDBLOCK)
		} else if err == nil {
			if err = unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err == nil && !isAt(f, dir) {
				err = unix.EWOULDBLOCK // it was removed meanwhile
			}
			if err == nil {
				return &Watcher{dir: dir, lock: f}, nil
			}
			_ = f.Close()
		}
		switch {
		case !errors.Is(err, unix.EWOULDBLOCK):
			return nil, err
		case time.Now().After(end):
			return nil, fmt.Errorf("%w: its memory is being fetched", ErrBusy)
		}
	}
}

func isAt(f *os.File, dir string) bool {
	ours, err := f.Stat()
	there, statErr := os.Stat(filepath.Join(dir, watcherFile))
	return err == nil && statErr == nil && os.SameFile(ours, there)
}

// Note keeps what is under way.
func (w *Watcher) Note(f Fetch) error { return writeJSON(filepath.Join(w.dir, fetchFile), f) }

// Log returns the last line of the daemon's log that says what went wrong,
// empty if none does.
func (w *Watcher) Log() string {
	data, _ := os.ReadFile(filepath.Join(w.dir, LazyPagesLog))
	last := ""
	for line := range strings.Lines(string(data)) {
		if strings.Contains(line, "Error (") {
			last = strings.TrimSpace(line)
		}
	}
	return last
}

// End removes the directory and lets go of it.
func (w *Watcher) End() error { return errors.Join(os.RemoveAll(w.dir), w.lock.Close()) }

// Leave lets go of the directory and keeps it, for what has to be said.
func (w *Watcher) Leave() { _ = w.lock.Close() }
