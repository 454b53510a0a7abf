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

// Summary is the part of a record that lists show and rules judge. See indexVersion
// before you change it.
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
// empty, oldest first, and an error joined from those that cannot be read. Unlike List
// it does not look at the rest of the records, and goes by the store's index. A
// checkpoint that is removed meanwhile is left out.
func (s Store) Summaries(container string) ([]Summary, error) {
	index := s.Index()
	defer index.Save()
	return index.Summaries(container)
}

// checkpoints returns the names of containers and checkpoints, of one container or of
// all when it is empty, sorted.
func (s Store) checkpoints(container string) [][2]string {
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
	return names
}

// gather reads something of each checkpoint, several at once.
func gather[T any](names [][2]string, read func(container, checkpoint string) (T, error)) ([]T, error) {
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
// buf, which grows. If the file changed while it was read, the stamp is of before.
func (s Store) readQuickly(container, checkpoint string, buf *[]byte) ([]byte, stamp, error) {
	path := filepath.Join(s.Dir, container, checkpoint, RecordFile)
	fd, err := unix.Open(path, unix.O_RDONLY|unix.O_CLOEXEC|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0)
	if errors.Is(err, unix.ELOOP) {
		return nil, stamp{}, errNotFile
	}
	if err != nil {
		return nil, stamp{}, &os.PathError{Op: "open", Path: path, Err: err}
	}
	defer unix.Close(fd)
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return nil, stamp{}, &os.PathError{Op: "stat", Path: path, Err: err}
	}
	if st.Mode&unix.S_IFMT != unix.S_IFREG {
		return nil, stamp{}, errNotFile
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
			return nil, stamp{}, &os.PathError{Op: "read", Path: path, Err: err}
		}
		if n == 0 {
			return data, stampOf(&st), nil
		}
		data = data[:len(data)+n]
	}
	return nil, stamp{}, fmt.Errorf("%s grows, or has more than %d bytes", RecordFile, maxRecord)
}

func summarize(data []byte, container, checkpoint string, shared *sync.Map) (Summary, error) {
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
			r.Labels = labels(value, shared)
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

// labels returns one map for all labels of the same text: most checkpoints of a container
// have the same.
func labels(value gjson.Result, shared *sync.Map) map[string]string {
	if list, ok := shared.Load(value.Raw); ok {
		return list.(map[string]string)
	}
	var list map[string]string
	value.ForEach(func(key, value gjson.Result) bool {
		if list == nil {
			list = map[string]string{}
		}
		list[strings.Clone(key.String())] = strings.Clone(value.String())
		return true
	})
	shared.Store(strings.Clone(value.Raw), list)
	return list
}
