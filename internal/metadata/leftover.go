package metadata

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
)

// Leftover is a hidden directory that a run which was killed left in a
// container's directory.
type Leftover struct {
	Path string
	// Only says that it holds, or may hold, all there is of a container that
	// was killed. It is not to be removed.
	Only bool
	// Record is set when the images are whole, see Draft.Complete.
	Record *Record
}

// Leftovers lists them. The caller holds the container's lock: nobody else
// works on them.
func (s Store) Leftovers(container string) []Leftover {
	var list []Leftover
	entries, _ := os.ReadDir(filepath.Join(s.Dir, container))
	for _, e := range entries {
		l := Leftover{Path: filepath.Join(s.Dir, container, e.Name())}
		switch {
		case strings.HasPrefix(e.Name(), oldPrefix):
		case strings.HasPrefix(e.Name(), keptPrefix):
			l.Only, l.Record = true, whole(l.Path, container)
		case strings.HasPrefix(e.Name(), draftPrefix):
			l.Record = whole(l.Path, container)
			l.Only = l.Record != nil
		default:
			continue
		}
		list = append(list, l)
	}
	return list
}

// whole returns the record of a hidden directory that can be published: of a
// dump that was to stop its container, and had got to that. The container of
// any other runs on, and nothing is lost with it.
func whole(dir, container string) *Record {
	var r Record
	data, err := os.ReadFile(filepath.Join(dir, RecordFile))
	if err != nil || json.Unmarshal(data, &r) != nil {
		return nil
	}
	if r.Name != container || CheckName(r.Checkpoint) != nil || r.SchemaVersion != SchemaVersion || r.Options.LeaveRunning {
		return nil
	}
	return &r
}

// Adopt publishes a whole leftover under its record's name, or the next free
// one, and returns its path.
func (s Store) Adopt(l Leftover) (string, error) {
	r := *l.Record
	name, err := s.Free(r.Name, r.Checkpoint)
	if err != nil {
		name, err = s.Free(r.Name, "")
	}
	if err != nil {
		return "", err
	}
	r.Checkpoint = name
	if r.Files, r.SizeBytes, err = Hash(l.Path); err != nil {
		return "", err
	}
	d := &Draft{Dir: l.Path, store: s, container: r.Name, final: name}
	return s.Path(r.Name, name), d.Publish(r)
}
