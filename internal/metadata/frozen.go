package metadata

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
)

const (
	// frozenFile is there while a run has the container frozen: a run that is
	// killed leaves it, and whoever finds it lets the container run on.
	frozenFile = ".frozen"
	// pausedFile is that of versions that froze containers by docker pause.
	pausedFile = ".paused"
)

// Frozen is a container that a run has or had frozen.
type Frozen struct {
	ID     string // the container's, empty for none
	Cgroup string // the freezer's directory
}

// NoteFrozen writes, through to the disk, that the container is about to be
// frozen. The caller holds the container's lock.
func (s Store) NoteFrozen(container string, f Frozen) error {
	dir := filepath.Join(s.Dir, container)
	path := filepath.Join(dir, frozenFile)
	if err := os.WriteFile(path, []byte(f.ID+"\n"+f.Cgroup+"\n"), 0o600); err != nil {
		return err
	}
	return errors.Join(syncPath(path), syncPath(dir))
}

// FrozenBy returns what NoteFrozen wrote; the zero value for none.
func (s Store) FrozenBy(container string) Frozen {
	data, _ := os.ReadFile(filepath.Join(s.Dir, container, frozenFile))
	id, cgroup, _ := strings.Cut(string(data), "\n")
	return Frozen{ID: id, Cgroup: strings.TrimSuffix(cgroup, "\n")}
}

// NoteThawed takes the note back.
func (s Store) NoteThawed(container string) error {
	return os.Remove(filepath.Join(s.Dir, container, frozenFile))
}

// PausedBy is the ID of the container that a run of an older version has or had
// paused; empty for none.
func (s Store) PausedBy(container string) string {
	data, _ := os.ReadFile(filepath.Join(s.Dir, container, pausedFile))
	return string(data)
}

// NoteUnpaused takes that run's note back.
func (s Store) NoteUnpaused(container string) error {
	return os.Remove(filepath.Join(s.Dir, container, pausedFile))
}
