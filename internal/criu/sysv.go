package criu

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
)

// sysvImages hold the System V objects of an IPC namespace: one image of each
// kind, which is empty where there is none.
var sysvImages = [...]string{"ipcns-shm-*.img", "ipcns-msg-*.img", "ipcns-sem-*.img"}

// magics is the size of what an image begins with, before its first entry.
const magics = 8

// HasSysV says whether the images of a dump hold System V objects.
func HasSysV(dir string) (bool, error) {
	full, err := withSysV(dir)
	return len(full) > 0, err
}

// DropSysV removes the System V objects from the images of a dump. CRIU dumps all
// of the namespace and makes all of them again, also where the namespace is
// another container's, and lives.
func DropSysV(dir string) error {
	full, err := withSysV(dir)
	for _, image := range full {
		err = errors.Join(err, os.Truncate(image, magics))
	}
	if err != nil {
		return fmt.Errorf("removing the System V objects of the shared IPC namespace: %w", err)
	}
	return nil
}

// withSysV returns the images that have an entry.
func withSysV(dir string) ([]string, error) {
	var full []string
	for _, pattern := range sysvImages {
		found, err := filepath.Glob(filepath.Join(dir, pattern))
		if err != nil {
			return nil, err
		}
		for _, image := range found {
			info, err := os.Lstat(image)
			if err != nil {
				return nil, err
			}
			if info.Mode().IsRegular() && info.Size() > magics {
				full = append(full, image)
			}
		}
	}
	return full, nil
}
