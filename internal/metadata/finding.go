package metadata

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
)

// Finding is a hidden directory that a run which was killed left in a
// container's directory.
type Finding struct {
	Path string
	// Only says that it holds, or may hold, all there is of a container that
	// was killed. It is not to be removed.
	Only bool
	// Record is set when the images are whole, see Draft.Complete.
	Record *Record
}

// Findings lists them. The caller holds the container's lock: nobody else
// works on them.
func (s Store) Findings(container string) []Finding {
	var list []Finding
	entries, _ := os.ReadDir(filepath.Join(s.Dir, container))
	for _, e := range entries {
		f := Finding{Path: filepath.Join(s.Dir, container, e.Name())}
		switch {
		case strings.HasPrefix(e.Name(), oldPrefix), strings.HasPrefix(e.Name(), stagingPrefix):
		case strings.HasPrefix(e.Name(), keptPrefix):
			f.Only, f.Record = true, whole(f.Path, container)
		case strings.HasPrefix(e.Name(), draftPrefix):
			f.Record = whole(f.Path, container)
			f.Only = f.Record != nil
		default:
			continue
		}
		list = append(list, f)
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
	if r.Name != container || CheckName(r.Checkpoint) != nil || !knownSchema(r.SchemaVersion) || r.Options.LeaveRunning {
		return nil
	}
	return &r
}

// Adopt publishes a whole finding under its record's name, or the next free
// one, and returns its path.
func (s Store) Adopt(f Finding) (string, error) {
	r := *f.Record
	name, err := s.Free(r.Name, r.Checkpoint)
	if err != nil {
		name, err = s.Free(r.Name, "")
	}
	if err != nil {
		return "", err
	}
	r.Checkpoint = name
	d := &Draft{Dir: f.Path, store: s, container: r.Name, final: name}
	if r.Files, r.SizeBytes, err = d.Sum(); err != nil {
		return "", err
	}
	r.SumParts()
	return s.Path(r.Name, name), d.Publish(r)
}
