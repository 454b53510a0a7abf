package metadata

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

const transferPrefix = ".transfer-"

// Transfer is a hidden directory for what is on its way to or from a registry. It
// outlives a run that fails, so that the next one goes on from it.
type Transfer struct {
	Dir  string
	lock *os.File
}

// Transfer opens the directory for what this text names, and makes it if there is
// none. ErrLocked if another run uses it.
func (s Store) Transfer(of string) (*Transfer, error) {
	if err := s.own(); err != nil {
		return nil, err
	}
	sum := sha256.Sum256([]byte(of))
	t, err := openTransfer(filepath.Join(s.Dir, transferPrefix+hex.EncodeToString(sum[:8])))
	if errors.Is(err, unix.EWOULDBLOCK) {
		return nil, fmt.Errorf("%w: %s", ErrLocked, of)
	}
	return t, err
}

func openTransfer(dir string) (*Transfer, error) {
	for {
		if err := os.Mkdir(dir, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
			return nil, err
		}
		f, err := lock(filepath.Join(dir, lockFile))
		if errors.Is(err, fs.ErrNotExist) {
			continue // removed by who had it before
		}
		if err != nil {
			return nil, err
		}
		return &Transfer{Dir: dir, lock: f}, nil
	}
}

// Close leaves the directory to the next run, if there is something in it.
func (t *Transfer) Close() error {
	if list, err := os.ReadDir(t.Dir); err == nil && len(list) == 1 { // the lock
		return t.Remove()
	}
	return t.lock.Close()
}

// Remove removes the directory.
func (t *Transfer) Remove() error { return errors.Join(os.RemoveAll(t.Dir), t.lock.Close()) }

// AbandonedTransfers returns the directories of transfers that no run is at work on.
func (s Store) AbandonedTransfers() []string {
	list, _ := os.ReadDir(s.Dir)
	var dirs []string
	for _, e := range list {
		if !e.IsDir() || !strings.HasPrefix(e.Name(), transferPrefix) {
			continue
		}
		dir := filepath.Join(s.Dir, e.Name())
		if t, err := openTransfer(dir); err == nil {
			dirs = append(dirs, dir)
			_ = t.lock.Close()
		}
	}
	return dirs
}

// RemoveTransfer removes one that was abandoned, unless a run uses it by now.
func (s Store) RemoveTransfer(dir string) error {
	t, err := openTransfer(dir)
	if err != nil {
		return err
	}
	return t.Remove()
}
