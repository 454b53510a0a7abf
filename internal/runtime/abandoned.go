package runtime

import (
	"errors"
	"os"
	"path/filepath"
	"time"
)

// Abandoned is a restore whose checkpointctl and agent are gone.
type Abandoned struct {
	ID  string
	Dir string
}

// FindAbandoned lists the restores that nobody is at work on, of one container
// or, for an empty ID, of all.
func FindAbandoned(id string) []Abandoned {
	if id == "" {
		id = "*"
	}
	var list []Abandoned
	dirs, _ := filepath.Glob(filepath.Join(ControlDir, id))
	for _, dir := range dirs {
		if !IsContainerID(filepath.Base(dir)) {
			continue
		}
		p := &Pending{Control: Control{dir}}
		if p.take() == nil {
			list = append(list, Abandoned{ID: filepath.Base(dir), Dir: dir})
			_ = p.owner.Close()
		}
	}
	return list
}

// Recover ends what is left of the restore and removes its directory, and its
// link when no other restore needs it.
func (a Abandoned) Recover() error {
	p := &Pending{Control: Control{a.Dir}}
	err := p.take()
	if errors.Is(err, ErrBusy) || errors.Is(err, os.ErrNotExist) {
		return nil // begun again, or removed
	}
	if err != nil {
		return err
	}
	// With its hook gone, CRIU undoes what it has done.
	if tasks, err := p.Noted(); err == nil && p.Claimed() {
		tasks.Runc.Await(10 * time.Second)
		tasks.Runc.Kill()
		tasks.CRIU.Kill()
	}
	if link, err := os.ReadFile(p.Path(linkFile)); err == nil {
		p.link = string(link)
	}
	return p.Close()
}
