package dockerd

import (
	"errors"
	"os"
	"path/filepath"
	"testing"
)

// written returns what edit leaves of a file, and what the daemon read each time
// it was asked to.
func written(t *testing.T, text string, edit func(Daemon, func() error) error) (after string, read []string, err error) {
	t.Helper()
	d := Daemon{File: filepath.Join(t.TempDir(), "docker", "daemon.json")}
	if text != "" {
		if err := os.MkdirAll(filepath.Dir(d.File), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(d.File, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	err = edit(d, func() error {
		now, err := os.ReadFile(d.File)
		read = append(read, string(now))
		return err
	})
	now, readErr := os.ReadFile(d.File)
	if readErr != nil && !os.IsNotExist(readErr) {
		t.Fatal(readErr)
	}
	return string(now), read, err
}

const mine = "{\n  \"labels\": [\"a=b\"],\n  \"runtimes\": {\"crun\": {\"path\": \"/usr/bin/crun\"}}\n}\n"

// What Register wrote Unregister takes back, to the letter.
func TestRegisterAndUnregister(t *testing.T) {
	for name, c := range map[string]struct {
		before, registered, told, after string
		asDefault                       bool
	}{
		"no file":      {before: "", registered: `{"runtimes":{"checkpointctl":{"path":"/x"}}}` + "\n", told: `{"runtimes":{}}` + "\n", after: "{}\n"},
		"default":      {before: "{}\n", registered: `{"runtimes":{"checkpointctl":{"path":"/x"}},"default-runtime":"checkpointctl"}` + "\n", told: `{"runtimes":{},"default-runtime":"runc"}` + "\n", after: "{}\n", asDefault: true},
		"other things": {before: mine, registered: "{\n  \"labels\": [\"a=b\"],\n  \"runtimes\": {\"crun\": {\"path\": \"/usr/bin/crun\"},\"checkpointctl\":{\"path\":\"/x\"}}\n}\n", told: mine, after: mine},
	} {
		t.Run(name, func(t *testing.T) {
			text, read, err := written(t, c.before, func(d Daemon, reload func() error) error { return d.Register("/x", c.asDefault, reload) })
			if err != nil || text != c.registered || len(read) != 1 || read[0] != text {
				t.Errorf("registered: %q, read %q, %v", text, read, err)
			}
			text, read, err = written(t, text, Daemon.Unregister)
			if err != nil || text != c.after || len(read) != 1 || read[0] != c.told {
				t.Errorf("unregistered: %q, read %q, %v", text, read, err)
			}
		})
	}
}

// A daemon that does not take the file might not start with it, either.
func TestTheFileIsPutBack(t *testing.T) {
	refused := errors.New("refused")
	for _, before := range []string{"", "{}", mine} {
		text, _, err := written(t, before, func(d Daemon, _ func() error) error {
			return d.Register("/x", true, func() error { return refused })
		})
		if !errors.Is(err, refused) || text != before {
			t.Errorf("was %q, is %q, %v", before, text, err)
		}
	}
}

func TestWhatIsNoObjectIsNotChanged(t *testing.T) {
	for _, before := range []string{"[]", "{", "# a comment\n{}"} {
		text, read, err := written(t, before, func(d Daemon, reload func() error) error { return d.Register("/x", true, reload) })
		if !errors.Is(err, ErrConfig) || text != before || read != nil {
			t.Errorf("%q became %q, read %q, %v", before, text, read, err)
		}
	}
}

// Unregister could not bring the other one back.
func TestAnotherDefaultRuntimeIsKept(t *testing.T) {
	before := `{"default-runtime":"crun"}`
	text, read, err := written(t, before, func(d Daemon, reload func() error) error { return d.Register("/x", true, reload) })
	if !errors.Is(err, ErrConfig) || text != before || read != nil {
		t.Errorf("became %q, read %q, %v", text, read, err)
	}
	if _, _, err := written(t, before, func(d Daemon, reload func() error) error { return d.Register("/x", false, reload) }); err != nil {
		t.Errorf("beside it: %v", err)
	}
}
