package docker

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/gofrs/flock"
	"github.com/natefinch/atomic"
)

// runc hands this file to CRIU, which prefers it to what runc says:
// https://github.com/opencontainers/runc/blob/main/docs/checkpoint-restore.md
const (
	runcConf     = "/etc/criu/runc.conf"
	runcConfLock = "/run/checkpointctl-runc.conf.lock"
)

const (
	confBegin = "# checkpointctl: begin, removed after the restore\n"
	confEnd   = "# checkpointctl: end\n"
)

// withRuncConf runs f while the host's CRIU configuration for runc has the
// lines, and puts it back after. One process at a time does so; what a killed
// one left is removed by the next.
func withRuncConf(lines []string, f func() error) error {
	dir := filepath.Dir(runcConf)
	_, dirErr := os.Stat(dir)
	if err := os.MkdirAll(dir, 0o755); err != nil { //nolint:gosec // as packages make it
		return err
	}
	l := flock.New(runcConfLock)
	if err := l.Lock(); err != nil {
		return err
	}
	defer func() { _ = l.Unlock() }()
	removeTorn(runcConf)
	clean, absent, err := cleanConf()
	if err != nil {
		return err
	}
	block := confBegin + strings.Join(lines, "\n") + "\n" + confEnd
	if err := atomic.WriteFile(runcConf, strings.NewReader(joinLines(clean, block))); err != nil {
		return err
	}
	runErr := f()
	if err = putConf(clean, absent); err != nil {
		err = fmt.Errorf("putting back %s: %w", runcConf, err)
	}
	if absent && errors.Is(dirErr, os.ErrNotExist) {
		_ = os.Remove(dir)
	}
	return errors.Join(runErr, err)
}

// torn are the new forms of a file that were not yet in its place when the one
// who wrote them was killed: they have our block, and its name with digits.
func torn(file string) []string {
	var list []string
	found, _ := filepath.Glob(file + "[0-9]*")
	for _, f := range found {
		if data, err := os.ReadFile(f); err == nil && strings.Contains(string(data), confBegin) {
			list = append(list, f)
		}
	}
	return list
}

// removeTorn needs the lock: another may be about to move its file into place.
func removeTorn(file string) {
	for _, f := range torn(file) {
		_ = os.Remove(f)
	}
}

// cleanConf is the file without our block, and whether there would be none.
func cleanConf() (clean string, absent bool, err error) {
	old, err := os.ReadFile(runcConf)
	if errors.Is(err, os.ErrNotExist) {
		return "", true, nil
	}
	clean = stripBlock(string(old))
	// Nothing but our block: made by one that was killed.
	return clean, clean == "" && len(old) > 0, err
}

func putConf(clean string, absent bool) error {
	if absent {
		if err := os.Remove(runcConf); !errors.Is(err, os.ErrNotExist) {
			return err
		}
		return nil
	}
	return atomic.WriteFile(runcConf, strings.NewReader(clean))
}

// joinLines appends block on a line of its own.
func joinLines(text, block string) string {
	if text != "" && !strings.HasSuffix(text, "\n") {
		text += "\n"
	}
	return text + block
}

func stripBlock(text string) string {
	head, rest, ok := strings.Cut(text, confBegin)
	if !ok {
		return text
	}
	_, tail, _ := strings.Cut(rest, confEnd)
	return head + tail
}
