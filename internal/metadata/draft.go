package metadata

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"
)

const (
	draftPrefix = ".new-"
	keptPrefix  = ".kept-"
	oldPrefix   = ".old-" // being removed
	// stagingPrefix is of copies of files that are to go into a checkpoint.
	stagingPrefix = ".files-"
)

// InDraft says whether a path that Log returned is of a dump not yet over.
func InDraft(path string) bool {
	return strings.HasPrefix(filepath.Base(filepath.Dir(path)), draftPrefix)
}

// Draft is a checkpoint in the making, invisible until it is published.
type Draft struct {
	Dir string
	// NoSync is for a checkpoint that is made quickly. It leaves it to the kernel when the
	// draft reaches the disk. After a power cut before that, files of the checkpoint may
	// be missing or empty.
	NoSync bool
	// Progress, if set, hears of the bytes that Sum has read, and of how many there
	// are, from several goroutines at once.
	Progress         func(done, total int64)
	store            Store
	container, final string
}

// Begin makes an empty hidden directory for a checkpoint. The caller holds
// the container's lock, so findings of that name are of a run that died.
func (s Store) Begin(container, checkpoint string) (*Draft, error) {
	d := &Draft{Dir: s.hidden(container, checkpoint, draftPrefix), store: s, container: container, final: checkpoint}
	return d, d.Empty()
}

func (s Store) hidden(container, checkpoint, prefix string) string {
	return filepath.Join(s.Dir, container, prefix+checkpoint)
}

// Publish writes and syncs the record beside images that Sync has synced, and
// makes the checkpoint appear by one rename.
func (d *Draft) Publish(r Record) error {
	if err := d.writeRecord(r); err != nil {
		return err
	}
	if err := os.Rename(d.Dir, d.store.Path(d.container, d.final)); err != nil {
		return err
	}
	if err := d.sync(filepath.Join(d.store.Dir, d.container)); err != nil {
		// It may vanish again with the power: what is said to have failed is not
		// listed, either.
		return errors.Join(err, os.Rename(d.store.Path(d.container, d.final), d.Dir))
	}
	_ = os.RemoveAll(d.store.hidden(d.container, d.final, ".failed-"))
	return nil
}

// Complete writes the images through to the disk, and then a record beside
// them: what a killed run leaves is whole, and Adopt can publish it. The names of
// the draft and of the container's directory are on the disk, too.
func (d *Draft) Complete(r Record) error {
	if err := d.Sync(); err != nil {
		return err
	}
	if err := d.writeRecord(r); err != nil {
		return err
	}
	return errors.Join(syncPath(filepath.Join(d.store.Dir, d.container)), syncPath(d.store.Dir))
}

// writeRecord writes the record through to the disk, and replaces one that may
// be the only one in one step. With NoSync there is none before.
func (d *Draft) writeRecord(r Record) error {
	data, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return err
	}
	path, data := filepath.Join(d.Dir, RecordFile), append(data, '\n')
	if d.NoSync {
		return os.WriteFile(path, data, 0o600)
	}
	return replaceFile(path, data)
}

// replaceFile writes a file through to the disk, and replaces one of its name in
// one step.
func replaceFile(path string, data []byte) error {
	if err := os.WriteFile(path+".new", data, 0o600); err != nil {
		return err
	}
	if err := syncPath(path + ".new"); err != nil {
		return err
	}
	return errors.Join(os.Rename(path+".new", path), syncPath(filepath.Dir(path)))
}

// Sum lists the regular files of the draft with size and CRC-32C, but for the record
// itself, and the bytes that they take on the disk. Zeros in the images of memory take no
// space on the disk afterwards. Progress hears of the bytes.
func (d *Draft) Sum() ([]File, int64, error) {
	files, err := readChecksums(d.Dir, true, d.Progress)
	if err != nil {
		return nil, 0, err
	}
	used, err := diskUsage(d.Dir, files)
	return files, used, err
}

// Sync writes the draft through to the disk, unless it has NoSync. CRIU makes its images readable
// for all; here they become the owner's alone.
func (d *Draft) Sync() error {
	// Many at once: the filesystem's journal is written out for all together.
	var g errgroup.Group
	g.SetLimit(32)
	err := walk(d.Dir, func(name string, e fs.DirEntry) error {
		path, mode := filepath.Join(d.Dir, name), os.FileMode(0o600)
		if e.IsDir() {
			mode = 0o700
		}
		g.Go(func() error { return errors.Join(os.Chmod(path, mode), d.sync(path)) })
		return nil
	})
	return errors.Join(err, g.Wait())
}

func (d *Draft) sync(path string) error {
	if d.NoSync {
		return nil
	}
	return syncPath(path)
}

// Staging makes an empty hidden directory for copies of the files that go into a
// checkpoint, if its filesystem has room for so many bytes: ErrNoRoom. What a
// killed run left there is removed.
func (s Store) Staging(container, checkpoint string, need int64) (string, error) {
	dir := s.hidden(container, checkpoint, stagingPrefix)
	if err := errors.Join(os.RemoveAll(dir), os.Mkdir(dir, 0o700)); err != nil {
		return "", err
	}
	free, err := free(dir)
	if err == nil && free < need {
		err = fmt.Errorf("%w: it has %d MiB, the files take %d MiB", ErrNoRoom, free>>20, need>>20)
	}
	return dir, err
}

// Empty removes what is in the draft, for another try.
func (d *Draft) Empty() error {
	if err := os.RemoveAll(d.Dir); err != nil {
		return err
	}
	return os.Mkdir(d.Dir, 0o700)
}

// Keep moves a draft that cannot be published out of the way of others of its
// name, and returns where it is.
func (d *Draft) Keep() string {
	kept := d.store.hidden(d.container, d.final, fmt.Sprintf("%s%d-", keptPrefix, time.Now().Unix()))
	if os.Rename(d.Dir, kept) != nil {
		return d.Dir
	}
	return kept
}

// Discard removes the draft, but keeps the log of the failed dump, if there
// is one, under a name where Log finds it.
func (d *Draft) Discard(name, log string) {
	// On a full disk the images must go before there is room for the log.
	_ = os.RemoveAll(d.Dir)
	failed := d.store.hidden(d.container, d.final, ".failed-")
	_ = os.RemoveAll(failed)
	if log != "" && os.Mkdir(failed, 0o700) == nil {
		_ = os.WriteFile(filepath.Join(failed, name), []byte(log), 0o600)
	}
}

func syncPath(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	return f.Sync()
}
