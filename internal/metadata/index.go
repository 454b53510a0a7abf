package metadata

import (
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

const (
	// indexFile is the store's. No container's name begins with a dot.
	indexFile = ".index"
	// indexVersion is to change with every change of Summary, or of how one is made.
	indexVersion = 1
	// worthwhile is how many records must be asked for before the index is read, and how
	// many must be new or gone before it is written. Less is done faster without it.
	worthwhile = 64
	// timestampStep is the coarsest that a filesystem has, FAT. A file that changes twice
	// within it may have the same times after both.
	timestampStep = 2 * time.Second
)

// Index gives the summaries of a store's records and remembers them in a file, so that a
// list of thousands reads only the records that are new or have changed. Nothing else
// depends on the file: if it is missing, damaged or cannot be written, all is as before
// and takes longer.
type Index struct {
	store   Store
	began   time.Time
	asked   int  // for how many records
	loaded  bool // if there was something to load
	changes int  // since it was
	known   map[string][]*entry
}

// entry is a summary, and the record's file as it was read.
type entry struct {
	File    stamp
	Summary Summary
	// SameLabels stands for labels that are the same as those of the entry before.
	SameLabels bool
	read       bool // by this run
}

// stamp differs if a file is another one or has changed, see timestampStep.
type stamp struct {
	Dev, Ino               uint64
	Size, MtimeNS, CtimeNS int64
}

func stampOf(st *unix.Stat_t) stamp {
	return stamp{st.Dev, st.Ino, st.Size, st.Mtim.Nano(), st.Ctim.Nano()}
}

// Index returns the store's, which is read when it is needed. Save writes it.
func (s Store) Index() *Index {
	return &Index{store: s, began: time.Now(), known: map[string][]*entry{}}
}

// Summaries returns what Store.Summaries does.
func (x *Index) Summaries(container string) ([]Summary, error) {
	if err := x.store.CheckAccess(); err != nil {
		return nil, err
	}
	names := x.store.checkpoints(container)
	if x.asked += len(names); x.asked >= worthwhile && !x.loaded {
		x.load()
	}
	// A new buffer for each of ten thousand records would take a hundred megabytes.
	buffers := sync.Pool{New: func() any { return new([]byte) }}
	var shared sync.Map // labels, see there
	entries, err := gather(names, func(container, checkpoint string) (*entry, error) {
		if e := x.recall(container, checkpoint); e != nil {
			return e, nil
		}
		buf := buffers.Get().(*[]byte)
		defer buffers.Put(buf)
		data, file, err := x.store.readQuickly(container, checkpoint, buf)
		if err != nil {
			return nil, recordError(container, checkpoint, err)
		}
		s, err := summarize(data, container, checkpoint, &shared)
		return &entry{File: file, Summary: s, read: true}, err
	})
	x.remember(container, entries)
	list := slices.Grow([]Summary(nil), len(entries))
	for _, e := range entries {
		list = append(list, e.Summary)
	}
	slices.SortStableFunc(list, func(a, b Summary) int { return a.Timestamp.Compare(b.Timestamp) })
	return list, err
}

// recall returns what the file of the index has of a record that is as it was when it
// was read, else nil.
func (x *Index) recall(container, checkpoint string) *entry {
	list := x.known[container]
	i, found := slices.BinarySearchFunc(list, checkpoint, func(e *entry, name string) int {
		return strings.Compare(e.Summary.Checkpoint, name)
	})
	var st unix.Stat_t
	if !found || list[i].read || unix.Lstat(filepath.Join(x.store.Dir, container, checkpoint, RecordFile), &st) != nil || stampOf(&st) != list[i].File {
		return nil
	}
	return list[i]
}

// remember takes what was found of a container, or of all if it is empty, for all there
// is.
func (x *Index) remember(container string, entries []*entry) {
	before := len(x.known[container])
	delete(x.known, container)
	if container == "" {
		for _, list := range x.known {
			before += len(list)
		}
		clear(x.known)
	}
	for _, e := range entries {
		x.known[e.Summary.Name] = append(x.known[e.Summary.Name], e)
		if e.read {
			x.changes++
		} else {
			before--
		}
	}
	x.changes += before // these are gone
}

// load reads the file. What this run has read before stays.
func (x *Index) load() {
	x.loaded = true
	if known := x.store.readIndex(); known != nil {
		maps.Copy(known, x.known)
		x.known = known
	}
}

// Save writes the file if that is worthwhile, and if this user may.
func (x *Index) Save() {
	if x.changes < worthwhile || !x.store.private() {
		return
	}
	path := filepath.Join(x.store.Dir, indexFile)
	f, err := lock(path + ".new")
	if err != nil {
		return // another run is writing it, or it cannot be written
	}
	defer f.Close()
	if x.write(f) != nil || os.Rename(f.Name(), path) != nil {
		_ = os.Remove(f.Name())
	}
}
