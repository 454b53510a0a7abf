package metadata

import (
	"errors"
	"time"
)

const parkedFile = ".parked"

// Parked is a container that is stopped by its checkpoint, or about to be, until it
// is restored from it.
type Parked struct {
	Name       string    `json:"name"`
	ID         string    `json:"id"`
	Checkpoint string    `json:"checkpoint"`
	Since      time.Time `json:"since"`
	// Order is that in which containers are restored, from 0. Those with the same
	// are restored together.
	Order int `json:"order"`
	// RestartPolicy and MaxRetries are the container's own, if it has another one
	// while it is parked.
	RestartPolicy string `json:"restart_policy,omitempty"`
	MaxRetries    int    `json:"max_retries,omitempty"`
}

// ErrParked is a checkpoint from which a parked container is to be restored.
var ErrParked = errors.New("a parked container needs the checkpoint")

// NotePark notes, through to the disk, that a container is being parked.
func (s Store) NotePark(p Parked) error {
	unlock, err := s.Lock(p.Name)
	if err != nil {
		return err
	}
	defer unlock()
	return s.note(p.Name, parkedFile, p)
}

// Parked reads what NotePark wrote, and says whether there is a note.
func (s Store) Parked(container string) (p Parked, there bool, err error) {
	there, err = s.noted(container, parkedFile, &p)
	return p, there, err
}

// AllParked returns the notes of all containers, by name, and an error joined from
// those that cannot be read.
func (s Store) AllParked() ([]Parked, error) {
	if err := s.CheckAccess(); err != nil {
		return nil, err
	}
	var list []Parked
	var errs []error
	for _, name := range s.Containers() {
		p, there, err := s.Parked(name)
		if there {
			list = append(list, p)
		}
		errs = append(errs, err)
	}
	return list, errors.Join(errs...)
}

// ForgetPark takes the note back.
func (s Store) ForgetPark(container string) error {
	unlock, err := s.Lock(container)
	if err != nil {
		return err
	}
	defer unlock()
	return s.forget(container, parkedFile)
}
