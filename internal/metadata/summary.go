package metadata

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/tidwall/gjson"
	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"
)

// Summary is the part of a record that lists show and rules judge.
type Summary struct {
	Name, Checkpoint, Kind, Parent string
	Image                          string
	Labels                         map[string]string
	Timestamp                      time.Time
	SizeBytes                      int64
	Rounds                         int // of pre-dump
	// FrozenUS is how long the container was frozen, with its group if it had one.
	FrozenUS int64
}

// Summary returns the record's.
func (r Record) Summary() Summary {
	s := Summary{
		Name: r.Name, Checkpoint: r.Checkpoint, Kind: r.Kind, Parent: r.Parent, Image: r.Image, Labels: r.Labels,
		Timestamp: r.Timestamp, SizeBytes: r.SizeBytes, FrozenUS: int64(r.Stats.FrozenUS),
	}
	if r.PreDump != nil {
		s.Rounds = len(r.PreDump.Rounds)
	}
	if r.Group != nil {
		s.FrozenUS = r.Group.FrozenUS
	}
	return s
}

// Summaries returns those of one container's checkpoints, or of all when it is
// empty, oldest first, and an error joined from those that cannot be read. It reads
// ten times as fast as List, and does not look at the rest of the records. A
// checkpoint that is removed meanwhile is left out.
func (s Store) Summaries(container string) ([]Summary, error) {
	if err := s.CheckAccess(); err != nil {
		return nil, err
	}
	// A new buffer for each of ten thousand records would take a hundred megabytes.
	buffers := sync.Pool{New: func() any { return new([]byte) }}
	list, err := gather(s, container, func(container, checkpoint string) (Summary, error) {
		buf := buffers.Get().(*[]byte)
		defer buffers.Put(buf)
		data, err := s.readQuickly(container, checkpoint, buf)
		if err != nil {
			return Summary{}, recordError(container, checkpoint, err)
		}
		return summarize(data, container, checkpoint)
	})
	slices.SortStableFunc(list, func(a, b Summary) int { return a.Timestamp.Compare(b.Timestamp) })
	return list, err
}

// gather reads something of each checkpoint, several at once.
func gather[T any](s Store, container string, read func(container, checkpoint string) (T, error)) ([]T, error) {
	containers := []string{container}
	if container == "" {
		containers = s.Containers()
	}
	var names [][2]string
	for _, c := range containers {
		for _, name := range s.names(filepath.Join(s.Dir, c)) {
			names = append(names, [2]string{c, name})
		}
	}
	got, errs := make([]T, len(names)), make([]error, len(names))
	var g errgroup.Group
	g.SetLimit(runtime.NumCPU())
	// A goroutine for each of ten thousand records would take longer than reading.
	const each = 16
	for from := 0; from < len(names); from += each {
		g.Go(func() error {
			for i := from; i < min(from+each, len(names)); i++ {
				got[i], errs[i] = read(names[i][0], names[i][1])
			}
			return nil
		})
	}
	_ = g.Wait()
	var (
		list []T
		bad  []error
	)
	for i, err := range errs {
		switch {
		case err == nil:
			list = append(list, got[i])
		case !errors.Is(err, ErrNoCheckpoint): // no record, no checkpoint
			bad = append(bad, err)
		}
	}
	return list, errors.Join(bad...)
}

// readQuickly takes a third of the system calls that a root and a file of package
// os make. Of a symbolic link or a FIFO it returns errNotFile, too. The data is in
// buf, which grows.
func (s Store) readQuickly(container, checkpoint string, buf *[]byte) ([]byte, error) {
	path := filepath.Join(s.Dir, container, checkpoint, RecordFile)
	fd, err := unix.Open(path, unix.O_RDONLY|unix.O_CLOEXEC|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0)
	if errors.Is(err, unix.ELOOP) {
		return nil, errNotFile
	}
	if err != nil {
		return nil, &os.PathError{Op: "open", Path: path, Err: err}
	}
	defer unix.Close(fd)
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return nil, &os.PathError{Op: "stat", Path: path, Err: err}
	}
	if st.Mode&unix.S_IFMT != unix.S_IFREG {
		return nil, errNotFile
	}
	size := int(min(st.Size, maxRecord)) + 1
	*buf = slices.Grow((*buf)[:0], size)
	data := (*buf)[:0:size]
	for len(data) < cap(data) {
		n, err := unix.Read(fd, data[len(data):cap(data)])
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if err != nil {
			return nil, &os.PathError{Op: "read", Path: path, Err: err}
		}
		if n == 0 {
			return data, nil
		}
		data = data[:len(data)+n]
	}
	return nil, fmt.Errorf("%s grows, or has more than %d bytes", RecordFile, maxRecord)
}

func summarize(data []byte, container, checkpoint string) (Summary, error) {
	if !gjson.ValidBytes(data) {
		return Summary{}, damagedRecord(container, checkpoint, fmt.Errorf("%s is not JSON", RecordFile))
	}
	var (
		r      Record
		rounds int64
	)
	gjson.ParseBytes(data).ForEach(func(key, value gjson.Result) bool {
		switch key.Str {
		case "schema_version":
			r.SchemaVersion = int(value.Int())
		case "name":
			r.Name = strings.Clone(value.String()) // of the data, which is large
		case "checkpoint":
			r.Checkpoint = strings.Clone(value.String())
		case "kind":
			r.Kind = strings.Clone(value.String())
		case "parent":
			r.Parent = strings.Clone(value.String())
		case "image":
			r.Image = strings.Clone(value.String())
		case "labels":
			r.Labels = labels(value)
		case "timestamp":
			r.Timestamp = value.Time()
		case "size_bytes":
			r.SizeBytes = value.Int()
		case "pre_dump":
			rounds = value.Get("rounds.#").Int()
		case "stats":
			r.Stats.FrozenUS = value.Get("frozen_us").Uint()
		case "group":
			if value.IsObject() {
				r.Group = &Group{FrozenUS: value.Get("frozen_us").Int()}
			}
		}
		return true
	})
	if err := r.check(container, checkpoint); err != nil {
		return Summary{}, damagedRecord(container, checkpoint, err)
	}
	s := r.Summary()
	s.Rounds = int(rounds)
	return s, nil
}

func labels(value gjson.Result) map[string]string {
	list := map[string]string{}
	value.ForEach(func(key, value gjson.Result) bool {
		list[strings.Clone(key.String())] = strings.Clone(value.String())
		return true
	})
	return list
}
