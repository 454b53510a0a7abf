package metadata

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/gofrs/flock"
)

// Errors of the store. They are wrapped with the names they are about.
var (
	ErrBadName      = errors.New("bad name")
	ErrNoCheckpoint = errors.New("no such checkpoint")
	ErrExists       = errors.New("checkpoint exists")
	ErrLocked       = errors.New("another checkpointctl is working on this container")
	ErrDamaged      = errors.New("checkpoint is damaged")
)

var validName = regexp.MustCompile(`^[a-zA-Z0-9][a-zA-Z0-9_.-]{0,127}$`)

// CheckName refuses, with ErrBadName, names that are not plain path elements.
func CheckName(name string) error {
	if !validName.MatchString(name) {
		return fmt.Errorf("%w %q: want [a-zA-Z0-9][a-zA-Z0-9_.-]{0,127}", ErrBadName, name)
	}
	return nil
}

// Store is a directory of checkpoints, DIR/CONTAINER/CHECKPOINT.
type Store struct{ Dir string }

// Path is where a checkpoint is or would be.
func (s Store) Path(container, checkpoint string) string {
	return filepath.Join(s.Dir, container, checkpoint)
}

// Lock takes the container's lock, or returns ErrLocked. The lock ends with
// the process.
func (s Store) Lock(container string) (unlock func(), err error) {
	if err := CheckName(container); err != nil {
		return nil, err
	}
	dir := filepath.Join(s.Dir, container)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	l := flock.New(filepath.Join(dir, ".lock"), flock.SetPermissions(0o600))
	ok, err := l.TryLock()
	if err != nil {
		return nil, err
	}
	if !ok {
		return nil, fmt.Errorf("%w: %s", ErrLocked, container)
	}
	return func() {
		_ = l.Unlock()
		s.tidy(container)
	}, nil
}

// tidy removes a container's directory when nothing but the lock is in it.
func (s Store) tidy(container string) {
	dir := filepath.Join(s.Dir, container)
	if list, err := os.ReadDir(dir); err == nil && len(list) == 1 && list[0].Name() == ".lock" {
		_ = os.Remove(filepath.Join(dir, ".lock"))
		_ = os.Remove(dir)
	}
}

// Free returns name when no checkpoint has it, else ErrExists; for an empty
// name the first free of checkpoint1, checkpoint2, ...
func (s Store) Free(container, name string) (string, error) {
	if name != "" {
		if err := CheckName(name); err != nil {
			return "", err
		}
		if _, err := os.Lstat(s.Path(container, name)); err == nil {
			return "", fmt.Errorf("%w: %s/%s", ErrExists, container, name)
		}
		return name, nil
	}
	for i := 1; ; i++ {
		name = fmt.Sprintf("checkpoint%d", i)
		if _, err := os.Lstat(s.Path(container, name)); errors.Is(err, os.ErrNotExist) {
			return name, nil
		} else if err != nil {
			return "", err
		}
	}
}

const draftPrefix = ".new-"

// InDraft says whether a path that Log returned is of a dump not yet over.
func InDraft(path string) bool {
	return strings.HasPrefix(filepath.Base(filepath.Dir(path)), draftPrefix)
}

// Draft is a checkpoint in the making, invisible until it is published.
type Draft struct {
	Dir              string
	store            Store
	container, final string
}

// Begin makes an empty hidden directory for a checkpoint. The caller holds
// the container's lock, so leftovers of that name are of a run that died.
func (s Store) Begin(container, checkpoint string) (*Draft, error) {
	d := &Draft{Dir: s.hidden(container, checkpoint, draftPrefix), store: s, container: container, final: checkpoint}
	if err := os.RemoveAll(d.Dir); err != nil {
		return nil, err
	}
	return d, os.Mkdir(d.Dir, 0o700)
}

func (s Store) hidden(container, checkpoint, prefix string) string {
	return filepath.Join(s.Dir, container, prefix+checkpoint)
}

// Publish writes the record, syncs everything and makes the checkpoint appear
// by one rename.
func (d *Draft) Publish(r Record) error {
	data, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(d.Dir, RecordFile), append(data, '\n'), 0o600); err != nil {
		return err
	}
	if err := d.Sync(); err != nil {
		return err
	}
	if err := os.Rename(d.Dir, d.store.Path(d.container, d.final)); err != nil {
		return err
	}
	_ = os.RemoveAll(d.store.hidden(d.container, d.final, ".failed-"))
	return syncPath(filepath.Join(d.store.Dir, d.container))
}

// Sync writes the draft through to the disk. CRIU makes its images readable
// for all; here they become the owner's alone.
func (d *Draft) Sync() error {
	list, err := os.ReadDir(d.Dir)
	if err != nil {
		return err
	}
	for _, e := range list {
		if e.Type().IsRegular() {
			path := filepath.Join(d.Dir, e.Name())
			if err := errors.Join(os.Chmod(path, 0o600), syncPath(path)); err != nil {
				return err
			}
		}
	}
	return syncPath(d.Dir)
}

// Keep moves a draft that cannot be published out of the way of others of its
// name, and returns where it is.
func (d *Draft) Keep() string {
	kept := d.store.hidden(d.container, d.final, fmt.Sprintf(".kept-%d-", time.Now().Unix()))
	if os.Rename(d.Dir, kept) != nil {
		return d.Dir
	}
	return kept
}

// Discard removes the draft, but keeps the log of the failed dump, if there
// is one, where Log finds it.
func (d *Draft) Discard(log string) error {
	failed := d.store.hidden(d.container, d.final, ".failed-")
	_ = os.RemoveAll(failed)
	if data, err := os.ReadFile(filepath.Join(d.Dir, log)); err == nil && os.Mkdir(failed, 0o700) == nil {
		// On a full disk the images must go before there is room for the log.
		_ = os.RemoveAll(d.Dir)
		_ = os.WriteFile(filepath.Join(failed, log), data, 0o600)
	}
	return os.RemoveAll(d.Dir)
}

func syncPath(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	return f.Sync()
}

// Get reads one record. It returns ErrNoCheckpoint or ErrDamaged.
func (s Store) Get(container, checkpoint string) (Record, error) {
	var r Record
	if err := errors.Join(CheckName(container), CheckName(checkpoint)); err != nil {
		return r, err
	}
	data, err := os.ReadFile(filepath.Join(s.Path(container, checkpoint), RecordFile))
	if errors.Is(err, os.ErrNotExist) {
		return r, fmt.Errorf("%w: %s/%s", ErrNoCheckpoint, container, checkpoint)
	}
	if err != nil {
		return r, err
	}
	if err := json.Unmarshal(data, &r); err != nil {
		return r, fmt.Errorf("%w: %s/%s: %s: %w", ErrDamaged, container, checkpoint, RecordFile, err)
	}
	if r.SchemaVersion != SchemaVersion {
		return r, fmt.Errorf("%w: %s/%s: schema_version %d, want %d", ErrDamaged, container, checkpoint, r.SchemaVersion, SchemaVersion)
	}
	return r, nil
}

// List returns the records of one container, or of all when it is empty,
// oldest first, and an error joined from those that cannot be read.
func (s Store) List(container string) ([]Record, error) {
	containers := []string{container}
	if container == "" {
		containers = s.names(s.Dir)
	}
	var (
		list []Record
		errs []error
	)
	for _, c := range containers {
		for _, name := range s.names(filepath.Join(s.Dir, c)) {
			r, err := s.Get(c, name)
			if errors.Is(err, ErrNoCheckpoint) {
				continue // no record, no checkpoint
			}
			if err != nil {
				errs = append(errs, err)
				continue
			}
			list = append(list, r)
		}
	}
	slices.SortStableFunc(list, func(a, b Record) int { return a.Timestamp.Compare(b.Timestamp) })
	return list, errors.Join(errs...)
}

func (s Store) names(dir string) []string {
	list, _ := os.ReadDir(dir)
	var names []string
	for _, e := range list {
		if e.IsDir() && validName.MatchString(e.Name()) {
			names = append(names, e.Name())
		}
	}
	return names
}

// Find returns the named checkpoint, or the newest when the name is empty.
func (s Store) Find(container, checkpoint string) (Record, error) {
	if checkpoint != "" {
		return s.Get(container, checkpoint)
	}
	list, err := s.List(container)
	if len(list) == 0 {
		return Record{}, errors.Join(fmt.Errorf("%w: %s has none in %s", ErrNoCheckpoint, container, s.Dir), err)
	}
	return list[len(list)-1], nil
}

// Log returns the path of a checkpoint's log called file, be the dump over,
// under way or failed; the newest of the container for an empty name.
func (s Store) Log(container, checkpoint, file string) (string, error) {
	if checkpoint != "" {
		if err := CheckName(checkpoint); err != nil {
			return "", err
		}
	}
	var newest os.FileInfo
	path := ""
	entries, _ := os.ReadDir(filepath.Join(s.Dir, container))
	for _, e := range entries {
		name := strings.TrimPrefix(strings.TrimPrefix(e.Name(), ".failed-"), draftPrefix)
		if !validName.MatchString(name) || (checkpoint != "" && name != checkpoint) {
			continue
		}
		p := filepath.Join(s.Dir, container, e.Name(), file)
		if info, err := os.Stat(p); err == nil && (newest == nil || info.ModTime().After(newest.ModTime())) {
			newest, path = info, p
		}
	}
	if path == "" {
		return "", fmt.Errorf("%w: %s of %s/%s", ErrNoCheckpoint, file, container, checkpoint)
	}
	return path, nil
}

// Remove deletes a checkpoint: it vanishes at once, by a rename, and its
// files after that.
func (s Store) Remove(container, checkpoint string) error {
	if err := errors.Join(CheckName(container), CheckName(checkpoint)); err != nil {
		return err
	}
	gone := s.hidden(container, checkpoint, ".old-")
	_ = os.RemoveAll(gone)
	err := os.Rename(s.Path(container, checkpoint), gone)
	if errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("%w: %s/%s", ErrNoCheckpoint, container, checkpoint)
	}
	if err != nil {
		return err
	}
	return os.RemoveAll(gone)
}
