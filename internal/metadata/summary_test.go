package metadata

import (
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"syscall"
	"testing"
	"time"
)

// fullRecord has something in every field that a summary shows.
func fullRecord(container, checkpoint string) Record {
	r := Record{
		SchemaVersion: SchemaVersion, Checkpoint: checkpoint, Kind: KindCheckpoint, Parent: "before",
		Timestamp: time.Date(2026, 1, 2, 3, 4, 5, 678_901_234, time.UTC), SizeBytes: 5 << 40, Stats: Stats{FrozenUS: 42},
		PreDump: &PreDump{Rounds: []Round{{Number: 1}, {Number: 2}}},
		Group:   &Group{Members: []string{"a", "b"}, FrozenUS: 77},
	}
	r.Name, r.Image, r.Labels = container, `a "quoted" <image>é`, map[string]string{"app": "shop", `k"e.y`: "ü\n"}
	return r
}

func writeRecord(t *testing.T, s Store, checkpoint string, data []byte) {
	t.Helper()
	dir := s.Path("web", checkpoint)
	if err := errors.Join(os.MkdirAll(dir, 0o700), os.WriteFile(filepath.Join(dir, RecordFile), data, 0o600)); err != nil {
		t.Fatal(err)
	}
}

func TestSummaryIsThatOfTheRecord(t *testing.T) {
	s := Store{Dir: t.TempDir()}
	plain := fullRecord("web", "plain")
	plain.PreDump, plain.Group, plain.Labels, plain.Parent = nil, nil, nil, ""
	plain.Timestamp = plain.Timestamp.Add(time.Second)
	for _, r := range []Record{fullRecord("web", "full"), plain} {
		data, err := json.MarshalIndent(r, "", "  ")
		if err != nil {
			t.Fatal(err)
		}
		writeRecord(t, s, r.Checkpoint, data)
	}
	got, err := s.Summaries("")
	if err != nil {
		t.Fatal(err)
	}
	records, err := s.List("")
	if err != nil || len(records) != 2 {
		t.Fatalf("%d records: %v", len(records), err)
	}
	for i, r := range records {
		if want := r.Summary(); !reflect.DeepEqual(got[i], want) {
			t.Errorf("got  %+v\nwant %+v", got[i], want)
		}
	}
}

func TestDamagedRecordsAreNamedAndTheOthersListed(t *testing.T) {
	s := Store{Dir: t.TempDir()}
	publish(t, s, "web", "good", time.Now())
	data, err := json.Marshal(fullRecord("web", "cut"))
	if err != nil {
		t.Fatal(err)
	}
	writeRecord(t, s, "cut", data[:len(data)-10])
	writeRecord(t, s, "moved", data)
	writeRecord(t, s, "later", []byte(`{"schema_version": 99, "name": "web", "checkpoint": "later"}`))
	writeRecord(t, s, "list", []byte(`[]`))
	for name, make := range map[string]func(string) error{
		"fifo": func(path string) error { return syscall.Mkfifo(path, 0o600) },
		"link": func(path string) error { return os.Symlink("../good/"+RecordFile, path) },
		"dir":  func(path string) error { return os.Mkdir(path, 0o700) },
	} {
		if err := errors.Join(os.Mkdir(s.Path("web", name), 0o700), make(filepath.Join(s.Path("web", name), RecordFile))); err != nil {
			t.Fatal(err)
		}
	}
	list, err := s.Summaries("web")
	if len(list) != 1 || list[0].Checkpoint != "good" {
		t.Errorf("%+v", list)
	}
	for _, name := range []string{"cut", "moved", "later", "list", "fifo", "link", "dir"} {
		if err == nil || !strings.Contains(err.Error(), "web/"+name+":") {
			t.Errorf("%s is not named: %v", name, err)
		}
	}
	if !errors.Is(err, ErrDamaged) {
		t.Error(err)
	}
}

// Another run removes and adds while this one lists.
func TestSummariesWhileOthersRemove(t *testing.T) {
	s := Store{Dir: t.TempDir()}
	publish(t, s, "web", "stays", time.Now())
	done := make(chan struct{})
	go func() {
		defer close(done)
		for range 10 {
			publish(t, s, "web", "comes-and-goes", time.Now())
			if err := s.Remove("web", "comes-and-goes"); err != nil {
				t.Error(err)
			}
		}
	}()
	for running := true; running; {
		select {
		case <-done:
			running = false
		default:
		}
		list, err := s.Summaries("")
		if err != nil || len(list) == 0 || len(list) > 2 {
			t.Fatalf("%d: %v", len(list), err)
		}
	}
}
