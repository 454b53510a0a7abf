package metadata

import (
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
)

// rollbackFile is there while files of a container are being replaced: a run that
// is killed leaves it, and whoever finds it ends or undoes that.
const rollbackFile = ".rollback"

// NoteRollback writes, through to the disk, what is about to be done with files.
// The caller holds the container's lock.
func (s Store) NoteRollback(container string, note any) error {
	data, err := json.Marshal(note)
	if err != nil {
		return err
	}
	return replaceFile(filepath.Join(s.Dir, container, rollbackFile), data)
}

// Rollback reads what NoteRollback wrote, and says whether there is a note.
func (s Store) Rollback(container string, note any) (bool, error) {
	data, err := os.ReadFile(filepath.Join(s.Dir, container, rollbackFile))
	if errors.Is(err, os.ErrNotExist) {
		return false, nil
	}
	if err == nil {
		err = json.Unmarshal(data, note)
	}
	return err == nil, err
}

// ForgetRollback takes the note back.
func (s Store) ForgetRollback(container string) error {
	return errors.Join(os.Remove(filepath.Join(s.Dir, container, rollbackFile)), syncPath(filepath.Join(s.Dir, container)))
}
