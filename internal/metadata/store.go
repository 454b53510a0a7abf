package metadata

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
)

// Errors of the store. They are wrapped with the names they are about.
var (
	ErrBadName      = errors.New("bad name")
	ErrNoCheckpoint = errors.New("no such checkpoint")
	ErrExists       = errors.New("checkpoint exists")
	ErrLocked       = errors.New("another checkpointctl is working on this container")
	ErrDamaged      = errors.New("checkpoint is damaged")
	ErrNeeded       = errors.New("checkpoint is needed by another")
	ErrInUse        = errors.New("checkpoint is in use")
	ErrNoRoom       = errors.New("the store has no room")
)

// plainName leaves the length to validName: a counted repeat takes 3 ms to
// compile, a tenth of the program's start.
var plainName = regexp.MustCompile(`^[a-zA-Z0-9][a-zA-Z0-9_.-]*$`)

func validName(name string) bool { return len(name) <= 128 && plainName.MatchString(name) }

// CheckName refuses, with ErrBadName, names that are not plain path elements.
func CheckName(name string) error {
	if !validName(name) {
		return fmt.Errorf("%w %q: want [a-zA-Z0-9][a-zA-Z0-9_.-]{0,127}", ErrBadName, name)
	}
	return nil
}

// Store is a directory of checkpoints, DIR/CONTAINER/CHECKPOINT.
type Store struct {
	Dir string
	// UsedBy, if set, names the container that reads the checkpoint in a directory
	// while it runs, empty for none.
	UsedBy func(dir string) string
	// Progress, if set, hears of the bytes of a checkpoint that Verify has read, and of
	// how many there are, from several goroutines at once.
	Progress func(done, total int64)
}

// Path is where a checkpoint is or would be.
func (s Store) Path(container, checkpoint string) string {
	return filepath.Join(s.Dir, container, checkpoint)
}

// Track notes that memory changes of the container are tracked from now on for
// the record with this ID: the kernel counts for one chain at a time.
func (s Store) Track(container, id string) error {
	return os.WriteFile(filepath.Join(s.Dir, container, trackFile), []byte(id), 0o600)
}

// Tracked is the ID of the record that a dump can continue; empty for none.
func (s Store) Tracked(container string) string {
	data, _ := os.ReadFile(filepath.Join(s.Dir, container, trackFile))
	return string(data)
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

// Get reads one record. It returns ErrNoCheckpoint or ErrDamaged, or what
// CheckAccess returns.
func (s Store) Get(container, checkpoint string) (Record, error) {
	if err := s.CheckAccess(); err != nil {
		return Record{}, err
	}
	return s.get(container, checkpoint)
}

func (s Store) get(container, checkpoint string) (Record, error) {
	var r Record
	if err := errors.Join(CheckName(container), CheckName(checkpoint)); err != nil {
		return r, err
	}
	root, err := os.OpenRoot(s.Dir)
	if errors.Is(err, os.ErrNotExist) {
		return r, fmt.Errorf("%w: %s/%s", ErrNoCheckpoint, container, checkpoint)
	}
	if err != nil {
		return r, err
	}
	defer root.Close()
	data, err := readRecord(root, container, checkpoint)
	if err != nil {
		return r, err
	}
	if err = json.Unmarshal(data, &r); err != nil {
		err = fmt.Errorf("%s: %w", RecordFile, err)
	}
	if err = cmp.Or(err, r.check(container, checkpoint), r.checkNames(), r.checkParts()); err != nil {
		return r, damagedRecord(container, checkpoint, err)
	}
	return r, nil
}

func damagedRecord(container, checkpoint string, err error) error {
	return fmt.Errorf("%w: %s/%s: %w", ErrDamaged, container, checkpoint, err)
}

// maxRecord is more than the record of a hundred thousand threads.
const maxRecord = 64 << 20

// readRecord returns ErrNoCheckpoint or ErrDamaged, or that there is no access.
func readRecord(root *os.Root, container, checkpoint string) ([]byte, error) {
	data, err := readBounded(root, filepath.Join(container, checkpoint, RecordFile))
	if err != nil {
		return nil, recordError(container, checkpoint, err)
	}
	return data, nil
}

func recordError(container, checkpoint string, err error) error {
	switch {
	case errors.Is(err, os.ErrNotExist):
		return fmt.Errorf("%w: %s/%s", ErrNoCheckpoint, container, checkpoint)
	case errors.Is(err, os.ErrPermission):
		return accessError(err)
	}
	return damagedRecord(container, checkpoint, err)
}

func readBounded(root *os.Root, name string) ([]byte, error) {
	f, err := openFile(root, name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	data := bytes.NewBuffer(make([]byte, 0, min(info.Size(), maxRecord)+bytes.MinRead))
	n, err := data.ReadFrom(io.LimitReader(f, maxRecord+1))
	if err == nil && n > maxRecord {
		err = fmt.Errorf("%s has more than %d bytes", RecordFile, maxRecord)
	}
	return data.Bytes(), err
}

// check refuses a record of another checkpoint, or of a later version. All that
// follows goes by the names in it.
func (r Record) check(container, checkpoint string) error {
	if r.Name != container || r.Checkpoint != checkpoint {
		return fmt.Errorf("its record is of %q/%q", r.Name, r.Checkpoint)
	}
	if !knownSchema(r.SchemaVersion) {
		return fmt.Errorf("schema_version %d, want at most %d", r.SchemaVersion, SchemaVersion)
	}
	return nil
}

// checkNames refuses a record whose names could lead out of its checkpoint.
func (r Record) checkNames() error {
	if r.Parent != "" && !validName(r.Parent) {
		return fmt.Errorf("parent: bad name %q", r.Parent)
	}
	seen := map[string]bool{}
	for _, f := range r.Files {
		if !filepath.IsLocal(f.Name) || filepath.Clean(f.Name) != f.Name || f.Name == "." || f.Name == RecordFile || seen[f.Name] {
			return fmt.Errorf("files: bad name %q", f.Name)
		}
		seen[f.Name] = true
	}
	return nil
}

// List returns the records of one container, or of all when it is empty,
// oldest first, and an error joined from those that cannot be read.
func (s Store) List(container string) ([]Record, error) {
	if err := s.CheckAccess(); err != nil {
		return nil, err
	}
	list, err := gather(s.checkpoints(container), s.get)
	slices.SortStableFunc(list, func(a, b Record) int { return a.Timestamp.Compare(b.Timestamp) })
	return list, err
}

// Containers returns the names of those that have something in the store.
func (s Store) Containers() []string { return s.names(s.Dir) }

func (s Store) names(dir string) []string {
	list, _ := os.ReadDir(dir)
	var names []string
	for _, e := range list {
		if e.IsDir() && validName(e.Name()) {
			names = append(names, e.Name())
		}
	}
	return names
}

// Find returns the named checkpoint, or, when the name is empty, the newest
// that can be restored.
func (s Store) Find(container, checkpoint string) (Record, error) {
	if checkpoint != "" {
		return s.Get(container, checkpoint)
	}
	list, err := s.List(container)
	list = slices.DeleteFunc(list, func(r Record) bool { return r.Kind == KindPreDump })
	if len(list) == 0 {
		return Record{}, errors.Join(fmt.Errorf("%w: %s has none in %s", ErrNoCheckpoint, container, s.Dir), err)
	}
	return list[len(list)-1], nil
}

// Chain returns the records that r needs, itself first. A missing parent is
// ErrDamaged.
func (s Store) Chain(r Record) ([]Record, error) {
	chain := []Record{r}
	for r.Parent != "" {
		parent, err := s.Get(r.Name, r.Parent)
		if err != nil || len(chain) > maxChain {
			return nil, fmt.Errorf("%w: %s/%s needs %s: %w", ErrDamaged, r.Name, r.Checkpoint, r.Parent, err)
		}
		chain, r = append(chain, parent), parent
	}
	return chain, nil
}

// maxChain ends chains that bite their tail.
const maxChain = 1000

// Log returns the path of a checkpoint's log, which has one of the names, be
// the dump over, under way or failed; the newest of the container for an empty
// checkpoint.
func (s Store) Log(container, checkpoint string, names ...string) (string, error) {
	if checkpoint != "" {
		if err := CheckName(checkpoint); err != nil {
			return "", err
		}
	}
	if err := s.CheckAccess(); err != nil {
		return "", err
	}
	var newest os.FileInfo
	path := ""
	entries, _ := os.ReadDir(filepath.Join(s.Dir, container))
	for _, e := range entries {
		name := strings.TrimPrefix(strings.TrimPrefix(e.Name(), ".failed-"), draftPrefix)
		if !validName(name) || (checkpoint != "" && name != checkpoint) {
			continue
		}
		for _, file := range names {
			p := filepath.Join(s.Dir, container, e.Name(), file)
			if info, err := os.Lstat(p); err == nil && info.Mode().IsRegular() && (newest == nil || info.ModTime().After(newest.ModTime())) {
				newest, path = info, p
			}
		}
	}
	if path == "" {
		return "", fmt.Errorf("%w: %s of %s/%s", ErrNoCheckpoint, names[0], container, checkpoint)
	}
	return path, nil
}

// Remove deletes checkpoints in this order, up to the first that it cannot.
// ErrNeeded if one is the parent of another that is still there, ErrInUse if a
// running container still needs it, ErrParked if a parked one does.
func (s Store) Remove(container string, checkpoints ...string) error {
	if err := CheckName(container); err != nil {
		return err
	}
	if err := s.CheckAccess(); err != nil {
		return err
	}
	list, unreadable := s.List(container)
	parked, _, _ := s.Parked(container)
	for _, name := range checkpoints {
		if err := CheckName(name); err != nil {
			return err
		}
		if child := s.linked(container, name); unreadable != nil && child != "" {
			return fmt.Errorf("%w: %s/%s is the parent of %s by its images", ErrNeeded, container, name, child)
		}
		for _, r := range list {
			if r.Parent == name {
				return fmt.Errorf("%w: %s/%s is the parent of %s", ErrNeeded, container, name, r.Checkpoint)
			}
		}
		if s.UsedBy != nil {
			if by := s.UsedBy(s.Path(container, name)); by != "" {
				return fmt.Errorf("%w: %s/%s is being fetched by container %s", ErrInUse, container, name, by)
			}
		}
		if parked.Checkpoint == name {
			return fmt.Errorf("%w: %s/%s", ErrParked, container, name)
		}
		if err := s.remove(container, name); err != nil {
			return err
		}
		list = slices.DeleteFunc(list, func(r Record) bool { return r.Checkpoint == name })
	}
	return nil
}

// linked returns a checkpoint whose images continue those of another, by CRIU's
// own link to them: its record may not be readable. Empty for none.
func (s Store) linked(container, parent string) string {
	dir := filepath.Join(s.Dir, container)
	for _, name := range s.names(dir) {
		for _, images := range [...]string{name, filepath.Join(name, "pre-dump", "1")} {
			to, err := os.Readlink(filepath.Join(dir, images, "parent"))
			if err != nil || name == parent {
				continue
			}
			if first, _, _ := strings.Cut(filepath.Join(images, to), string(filepath.Separator)); first == parent {
				return name
			}
		}
	}
	return ""
}

// remove lets a checkpoint vanish at once, by a rename, and its files after
// that.
func (s Store) remove(container, checkpoint string) error {
	gone := s.hidden(container, checkpoint, oldPrefix)
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
