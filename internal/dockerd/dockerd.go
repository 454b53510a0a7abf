// Package dockerd changes the configuration of a running dockerd.
package dockerd

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/natefinch/atomic"
	"github.com/tidwall/gjson"
	"github.com/tidwall/sjson"
	"golang.org/x/sys/unix"

	"github.com/checkpointctl/checkpointctl/internal/linux"
	"github.com/checkpointctl/checkpointctl/internal/runtime"
)

// Runtime is what the stand-in for runc is called as a runtime of Docker.
const Runtime = "checkpointctl"

const (
	defaultRuntime = "default-runtime"
	runtimeKey     = "runtimes." + Runtime
	stock          = "runc" // Docker's own name of its default runtime
)

// ErrConfig is a configuration of dockerd that cannot be changed.
var ErrConfig = errors.New("docker's configuration cannot be changed")

// Daemon is a dockerd whose configuration is a file.
type Daemon struct {
	PID  int
	File string // of its configuration; it may not exist
}

// Find returns the daemon that listens on a unix socket.
func Find(socket string) (Daemon, error) {
	pid, err := runtime.FindDockerd(socket)
	if err != nil {
		return Daemon{}, err
	}
	d := Daemon{PID: pid, File: runtime.ConfigFile(pid)}
	if linux.NamespaceLink(pid, "mnt") != linux.NamespaceLink(os.Getpid(), "mnt") {
		d.File = filepath.Join(fmt.Sprintf("/proc/%d/root", pid), d.File)
	}
	return d, nil
}

// Register adds the stand-in to the daemon's runtimes, and with asDefault makes
// it the one of new containers. The rest of the file stays to the letter. reload
// is called when the file has changed, and returns when the daemon has taken it
// up; if it fails the file is put back, since the daemon might not start with it.
// A file that names another default runtime is refused with ErrConfig: Unregister
// could not bring that one back.
func (d Daemon) Register(standIn string, asDefault bool, reload func() error) error {
	return d.edit(reload, func(text []byte) ([]byte, error) {
		if other := gjson.GetBytes(text, defaultRuntime).Str; asDefault && other != "" && other != stock && other != Runtime {
			return nil, fmt.Errorf("its %s is %s", defaultRuntime, other)
		}
		text, err := sjson.SetBytes(text, runtimeKey+".path", standIn)
		if err == nil && asDefault {
			text, err = sjson.SetBytes(text, defaultRuntime, Runtime)
		}
		return text, err
	})
}

// Unregister takes back what Register did. A daemon keeps the settings that its
// file does not name any more, so it is told of the stock runtime first, and reload
// is called then.
func (d Daemon) Unregister(reload func() error) error {
	isDefault, isLast := false, false
	err := d.edit(reload, func(text []byte) ([]byte, error) {
		isDefault = gjson.GetBytes(text, defaultRuntime).Str == Runtime
		text, err := sjson.DeleteBytes(text, runtimeKey)
		isLast = len(gjson.GetBytes(text, "runtimes").Map()) == 0
		if err == nil && isLast {
			text, err = sjson.SetRawBytes(text, "runtimes", []byte("{}"))
		}
		if err == nil && isDefault {
			text, err = sjson.SetBytes(text, defaultRuntime, stock)
		}
		return text, err
	})
	if err != nil {
		return err
	}
	return d.edit(func() error { return nil }, func(text []byte) (_ []byte, err error) {
		if isDefault {
			text, err = sjson.DeleteBytes(text, defaultRuntime)
		}
		if err == nil && isLast {
			text, err = sjson.DeleteBytes(text, "runtimes")
		}
		return text, err
	})
}

// Reload asks the daemon to read its file again. Containers run on.
func (d Daemon) Reload() error { return unix.Kill(d.PID, unix.SIGHUP) }

// edit replaces the file by what change makes of it, and puts it back if reload
// fails.
func (d Daemon) edit(reload func() error, change func([]byte) ([]byte, error)) error {
	text, err := os.ReadFile(d.File)
	absent := errors.Is(err, os.ErrNotExist)
	if err != nil && !absent {
		return err
	}
	before := text
	if len(bytes.TrimSpace(text)) == 0 {
		text = []byte("{}\n")
	}
	// An administrator's comment or half a line is not ours to lose.
	if !gjson.ValidBytes(text) || !gjson.ParseBytes(text).IsObject() {
		return fmt.Errorf("%w: %s is not a JSON object", ErrConfig, d.File)
	}
	changed, err := change(text)
	if err != nil {
		return fmt.Errorf("%w: %s: %w", ErrConfig, d.File, err)
	}
	if bytes.HasSuffix(text, []byte("\n")) && !bytes.HasSuffix(changed, []byte("\n")) {
		changed = append(changed, '\n')
	}
	if bytes.Equal(changed, text) {
		return nil
	}
	if absent {
		if err := os.MkdirAll(filepath.Dir(d.File), 0o755); err != nil { //nolint:gosec // as packages make it
			return err
		}
	}
	if err := atomic.WriteFile(d.File, bytes.NewReader(changed)); err != nil {
		return err
	}
	if err := reload(); err != nil {
		if absent {
			return errors.Join(err, os.Remove(d.File))
		}
		return errors.Join(err, atomic.WriteFile(d.File, bytes.NewReader(before)))
	}
	return nil
}
