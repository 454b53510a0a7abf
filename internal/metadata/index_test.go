package metadata

import (
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// put writes a record as Publish does, by a rename, but does not sync it.
func put(t *testing.T, s Store, container, checkpoint, image string) {
	t.Helper()
	r := fullRecord(container, checkpoint)
	r.Image = image
	data, err := json.Marshal(r)
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(s.Path(container, checkpoint), RecordFile)
	err = errors.Join(os.MkdirAll(filepath.Dir(path), 0o700), os.WriteFile(path+".new", data, 0o600), os.Rename(path+".new", path))
	if err != nil {
		t.Fatal(err)
	}
}

// many makes a store of which an index is worthwhile.
func many(t *testing.T) Store {
	t.Helper()
	s := Store{Dir: t.TempDir()}
	chmod(t, s.Dir, 0o700)
	for i := range worthwhile {
		put(t, s, "web", fmt.Sprintf("c%d", i), "record")
	}
	return s
}

// later returns an index that is used when timestampStep is over.
func later(s Store) *Index {
	x := s.Index()
	x.began = x.began.Add(time.Hour)
	return x
}

// pretend writes an index that says of all checkpoints that their image is "index".
func pretend(t *testing.T, s Store) {
	t.Helper()
	x := later(s)
	if _, err := x.Summaries(""); err != nil {
		t.Fatal(err)
	}
	for _, list := range x.known {
		for _, e := range list {
			e.Summary.Image = "index"
		}
	}
	x.Save()
	if images := imagesOf(t, s); images["web/c1"] != "index" {
		t.Fatalf("the index is not used: %v", images)
	}
}

func imagesOf(t *testing.T, s Store) map[string]string {
	t.Helper()
	list, _ := s.Index().Summaries("")
	images := map[string]string{}
	for _, e := range list {
		images[e.Name+"/"+e.Checkpoint] = e.Image
	}
	return images
}

func TestIndexIsUsedForRecordsThatHaveNotChanged(t *testing.T) {
	s := many(t)
	path := func(checkpoint string) string { return filepath.Join(s.Path("web", checkpoint), RecordFile) }
	pretend(t, s)
	put(t, s, "web", "added", "record")
	put(t, s, "web", "c2", "record") // replaced
	if err := os.RemoveAll(s.Path("web", "c3")); err != nil {
		t.Fatal(err)
	}
	// In place, with the same size and the same time of change, as cp -p would.
	for _, name := range []string{"c4", "c5"} {
		info, err := os.Stat(path(name))
		if err != nil {
			t.Fatal(err)
		}
		data, err := os.ReadFile(path(name))
		if err != nil {
			t.Fatal(err)
		}
		if name == "c5" {
			data[len(data)-1] = 'x' // damaged
		}
		if err := errors.Join(os.WriteFile(path(name), data, 0o600), os.Chtimes(path(name), time.Time{}, info.ModTime())); err != nil {
			t.Fatal(err)
		}
	}
	// Each has the other's record.
	err := errors.Join(os.Rename(s.Path("web", "c6"), s.Path("web", "c")), os.Rename(s.Path("web", "c7"), s.Path("web", "c6")), os.Rename(s.Path("web", "c"), s.Path("web", "c7")))
	if err != nil {
		t.Fatal(err)
	}
	images := imagesOf(t, s)
	for name, want := range map[string]string{
		"c1": "index", "added": "record", "c2": "record", "c3": "", "c4": "record", "c5": "", "c6": "", "c7": "", "c8": "index",
	} {
		if got := images["web/"+name]; got != want {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
	}
	_, err = s.Summaries("")
	for _, name := range []string{"c5", "c6", "c7"} {
		if !errors.Is(err, ErrDamaged) || !strings.Contains(err.Error(), "web/"+name+":") {
			t.Errorf("%s is not named: %v", name, err)
		}
	}
}

// What is written while it is read, or right after, may have the same stamp as before.
func TestIndexLeavesOutWhatMayChangeUnseen(t *testing.T) {
	s := many(t)
	x := s.Index()
	if _, err := x.Summaries(""); err != nil {
		t.Fatal(err)
	}
	for _, e := range x.known["web"] {
		e.Summary.Image = "index"
	}
	if list, err := x.Summaries("web"); err != nil || len(list) != worthwhile || list[0].Image != "record" {
		t.Errorf("%d, %v", len(list), err)
	}
	x.Save()
	if known := s.readIndex(); known == nil || len(known["web"]) != 0 {
		t.Errorf("index of %d that are new", len(known["web"]))
	}
	x = later(s)
	if _, err := x.Summaries(""); err != nil {
		t.Fatal(err)
	}
	x.Save()
	if known := s.readIndex(); len(known["web"]) != worthwhile {
		t.Errorf("index of %d that are old", len(known["web"]))
	}
}

func TestIndexThatCannotBeTrusted(t *testing.T) {
	damage := func(change func(data []byte) []byte) func(string) error {
		return func(path string) error {
			data, err := os.ReadFile(path)
			return errors.Join(err, os.WriteFile(path, change(data), 0o600))
		}
	}
	replace := func(with func(path string) error) func(string) error {
		return func(path string) error { return errors.Join(os.Rename(path, path+".old"), with(path)) }
	}
	for name, spoil := range map[string]func(path string) error{
		"gone":  os.Remove,
		"empty": damage(func([]byte) []byte { return nil }),
		"cut":   damage(func(data []byte) []byte { return data[:len(data)/2] }),
		"zeros": damage(func(data []byte) []byte { clear(data[len(data)/2:]); return data }),
		"a bit": damage(func(data []byte) []byte { data[len(data)/3] ^= 4; return data }),
		"other version": damage(func(data []byte) []byte {
			return sealed(t, indexVersion+1, settled(decodeIndex(data)["web"], time.Now()))
		}),
		"other content":   damage(func([]byte) []byte { return sealed(t, indexVersion, "text") }),
		"others write":    func(path string) error { return os.Chmod(path, 0o620) },
		"somebody else's": func(path string) error { return os.Chown(path, 12345, -1) },
		"link":            replace(func(path string) error { return os.Symlink(path+".old", path) }),
		"fifo":            replace(func(path string) error { return syscall.Mkfifo(path, 0o600) }),
		"dir":             replace(func(path string) error { return os.Mkdir(path, 0o700) }),
	} {
		t.Run(name, func(t *testing.T) {
			s := many(t)
			pretend(t, s)
			if err := spoil(filepath.Join(s.Dir, indexFile)); errors.Is(err, os.ErrPermission) {
				t.Skip("only root can give a file away")
			} else if err != nil {
				t.Fatal(err)
			}
			if images := imagesOf(t, s); len(images) != worthwhile || images["web/c1"] != "record" {
				t.Errorf("%v", images)
			}
			x := later(s)
			if list, err := x.Summaries(""); err != nil || len(list) != worthwhile {
				t.Errorf("%d, %v", len(list), err)
			}
			x.Save()
			if known := s.readIndex(); len(known["web"]) != worthwhile && name != "dir" {
				t.Errorf("it was not written again")
			}
		})
	}
}

// sealed is an index with a good checksum.
func sealed(t *testing.T, content ...any) []byte {
	t.Helper()
	data, err := encode(content)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func TestIndexIsWrittenWhereItMayBe(t *testing.T) {
	missing := func(t *testing.T, s Store) {
		t.Helper()
		if _, err := os.Lstat(filepath.Join(s.Dir, indexFile)); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("an index: %v", err)
		}
	}
	for name, prepare := range map[string]func(t *testing.T, s Store){
		"another run writes it": func(t *testing.T, s Store) {
			f, err := lock(filepath.Join(s.Dir, indexFile+".new"))
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = f.Close() })
		},
		"it cannot be written":     func(_ *testing.T, s Store) { _ = os.Mkdir(filepath.Join(s.Dir, indexFile+".new"), 0o700) },
		"others may look into it":  func(t *testing.T, s Store) { chmod(t, s.Dir, 0o755) },
		"there are too few for it": func(_ *testing.T, s Store) { _ = os.RemoveAll(s.Path("web", "c1")) },
	} {
		t.Run(name, func(t *testing.T) {
			s := many(t)
			prepare(t, s)
			x := later(s)
			if list, err := x.Summaries(""); err != nil || len(list) < worthwhile-1 {
				t.Errorf("%d, %v", len(list), err)
			}
			x.Save()
			missing(t, s)
		})
	}
}

func TestIndexForgetsWhatIsGone(t *testing.T) {
	s := many(t)
	for i := range worthwhile {
		put(t, s, "gone", fmt.Sprintf("c%d", i), "record")
	}
	pretend(t, s)
	if err := os.RemoveAll(filepath.Join(s.Dir, "gone")); err != nil {
		t.Fatal(err)
	}
	x := later(s)
	if list, err := x.Summaries(""); err != nil || len(list) != worthwhile {
		t.Errorf("%d, %v", len(list), err)
	}
	x.Save()
	if known := s.readIndex(); len(known) != 1 || len(known["web"]) != worthwhile {
		t.Errorf("%d of %d containers", len(known["web"]), len(known))
	}
}

// What a killed run left half written is written over.
func TestIndexAfterAKilledWriter(t *testing.T) {
	s := many(t)
	if err := os.WriteFile(filepath.Join(s.Dir, indexFile+".new"), make([]byte, 1<<20), 0o600); err != nil {
		t.Fatal(err)
	}
	pretend(t, s)
	if list, err := os.ReadDir(s.Dir); err != nil || len(list) != 2 {
		t.Errorf("%v, %v", list, err)
	}
}

// Two lists write the index while others add and remove.
func TestIndexOfRunsAtOnce(t *testing.T) {
	s := many(t)
	same(t, s) // writes one
	var others, lists sync.WaitGroup
	for run := range 2 {
		others.Go(func() {
			for i := range 200 {
				name := fmt.Sprintf("new%d-%d", run, i%40)
				put(t, s, "db", name, "record")
				if i%2 == 0 {
					if err := s.remove("db", name); err != nil {
						t.Error(err)
					}
				}
			}
		})
		lists.Go(func() {
			for range 30 {
				x := later(s)
				x.changes = worthwhile // each writes
				if list, err := x.Summaries(""); err != nil || len(list) < worthwhile {
					t.Errorf("%d, %v", len(list), err)
				}
				x.Save()
				if known := s.readIndex(); len(known["web"]) != worthwhile {
					t.Errorf("an index of %d", len(known["web"]))
				}
			}
		})
	}
	others.Wait()
	lists.Wait()
	same(t, s)
}

// same compares what an index says, asked by containers as prune does and then at once,
// with what the records say, and that it remembers just that.
func same(t *testing.T, s Store) {
	t.Helper()
	for _, containers := range [][]string{s.Containers(), {""}} {
		x := later(s)
		var all []string
		for _, c := range containers {
			plain := &Index{store: s, loaded: true, known: map[string][]*entry{}}
			want, wantErr := plain.Summaries(c)
			got, gotErr := x.Summaries(c)
			if !slices.EqualFunc(want, got, func(a, b Summary) bool { return reflect.DeepEqual(a, b) }) {
				t.Fatalf("container %q: records\n%+v\nindex\n%+v", c, want, got)
			}
			if fmt.Sprint(wantErr) != fmt.Sprint(gotErr) {
				t.Fatalf("container %q: records %v\nindex %v", c, wantErr, gotErr)
			}
			for _, s := range want {
				all = append(all, s.Name+"/"+s.Checkpoint)
			}
		}
		x.changes = worthwhile
		x.Save()
		var remembered []string
		known := s.readIndex()
		for _, c := range s.Containers() {
			if !slices.IsSortedFunc(known[c], func(a, b *entry) int { return strings.Compare(a.Summary.Checkpoint, b.Summary.Checkpoint) }) {
				t.Fatalf("the index of %s is not sorted", c)
			}
			for _, e := range known[c] {
				remembered = append(remembered, c+"/"+e.Summary.Checkpoint)
			}
		}
		slices.Sort(all)
		slices.Sort(remembered)
		if !slices.Equal(all, remembered) {
			t.Fatalf("records %v\nindex %v", all, remembered)
		}
	}
}

// Whatever was done to a store, lists by an index are those by its records.
func TestIndexSaysWhatRecordsSay(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 0))
	s := many(t)
	for range 30 {
		for range random.IntN(80) {
			container, checkpoint := fmt.Sprintf("app%d", random.IntN(4)), fmt.Sprintf("c%d", random.IntN(60))
			dir := s.Path(container, checkpoint)
			path := filepath.Join(dir, RecordFile)
			data, err := os.ReadFile(path)
			what := random.IntN(7)
			if err != nil || len(data) == 0 {
				what = 0
			}
			switch what {
			case 0, 1:
				if os.RemoveAll(dir) != nil {
					t.Fatal(dir)
				}
				put(t, s, container, checkpoint, fmt.Sprint("image", random.IntN(3)))
			case 2:
				_ = os.RemoveAll(dir)
			case 3:
				data[random.IntN(len(data))] ^= 1 << random.IntN(8)
				_ = os.WriteFile(path, data, 0o600)
			case 4:
				_ = os.Truncate(path, random.Int64N(int64(len(data))))
			case 5:
				_ = os.Remove(path)
			case 6:
				_ = os.Rename(dir, s.Path(container, fmt.Sprintf("c%d", random.IntN(60))))
			}
		}
		same(t, s)
	}
	if known := s.readIndex(); len(known) < 2 {
		t.Errorf("an index of %d containers", len(known))
	}
}

// An older index must not say less than a summary has.
func TestIndexVersionIsOfTheseFields(t *testing.T) {
	var fields []string
	for _, f := range reflect.VisibleFields(reflect.TypeFor[Summary]()) {
		fields = append(fields, f.Name+" "+f.Type.String())
	}
	const ofVersion1 = "Name string, Checkpoint string, Kind string, Parent string, Image string, Labels map[string]string, Timestamp time.Time, SizeBytes int64, Rounds int, FrozenUS int64"
	if got := strings.Join(fields, ", "); got != ofVersion1 || indexVersion != 1 {
		t.Errorf("change indexVersion, and this test: a summary has %s", got)
	}
}
