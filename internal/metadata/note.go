package metadata

import (
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"time"
)

// Notes are there while something is being done for a container: a run that is
// killed leaves one, and whoever finds it ends or undoes that. The caller holds the
// container's lock.
const (
	rollbackFile = ".rollback"
	madeFile     = ".made"
)

// NoteRollback writes, through to the disk, what is about to be done with files.
func (s Store) NoteRollback(container string, note any) error {
	return s.note(container, rollbackFile, note)
}

// Rollback reads what NoteRollback wrote, and says whether there is a note.
func (s Store) Rollback(container string, note any) (bool, error) {
	return s.noted(container, rollbackFile, note)
}

// ForgetRollback takes the note back.
func (s Store) ForgetRollback(container string) error { return s.forget(container, rollbackFile) }

// Made is a container that is being made from a checkpoint.
type Made struct {
	Name  string    `json:"name"`
	ID    string    `json:"id"` // empty until Docker has made it
	Began time.Time `json:"began"`
	// Volumes are those that are made for it.
	Volumes []string `json:"volumes,omitempty"`
}

// NoteMade writes, through to the disk, which container is being made from a
// checkpoint of this one.
func (s Store) NoteMade(container string, m Made) error { return s.note(container, madeFile, m) }

// Made reads what NoteMade wrote, and says whether there is a note.
func (s Store) Made(container string) (m Made, there bool, err error) {
	there, err = s.noted(container, madeFile, &m)
	return m, there, err
}

// ForgetMade takes the note back.
func (s Store) ForgetMade(container string) error { return s.forget(container, madeFile) }

func (s Store) note(container, file string, note any) error {
	data, err := json.Marshal(note)
	if err != nil {
		return err
	}
	return replaceFile(filepath.Join(s.Dir, container, file), data)
}

func (s Store) noted(container, file string, note any) (bool, error) {
	data, err := os.ReadFile(filepath.Join(s.Dir, container, file))
	if errors.Is(err, os.ErrNotExist) {
		return false, nil
	}
	if err == nil {
		err = json.Unmarshal(data, note)
	}
	return err == nil, err
}

func (s Store) forget(container, file string) error {
	return errors.Join(os.Remove(filepath.Join(s.Dir, container, file)), syncPath(filepath.Join(s.Dir, container)))
}
