package main

import (
	"encoding/json"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/checkpointctl/checkpointctl/internal/linux"
)

const testID = "4e5d7b3f0b6f4c0f9f6d8e2a1c3b5d7f9a0b2c4d6e8f0a1b2c3d4e5f60718293"

// The command lines are those that containerd's go-runc writes for Docker.
func TestParse(t *testing.T) {
	const (
		globals = "--root /run/docker/runtime-runc/moby --log /run/c/moby/" + testID + "/log.json --log-format json"
		bundle  = "/run/containerd/io.containerd.runtime.v2.task/moby/" + testID
	)
	for name, test := range map[string]struct {
		line, globals, command, id string
	}{
		"create":          {globals + " create --bundle " + bundle + " --pid-file " + bundle + "/init.pid " + testID, globals, "create", testID},
		"create with tty": {globals + " --systemd-cgroup create --bundle " + bundle + " --pid-file " + bundle + "/init.pid --console-socket /tmp/pty1/pty.sock " + testID, globals + " --systemd-cgroup", "create", testID},
		"create no pivot": {globals + " create --bundle " + bundle + " --pid-file " + bundle + "/init.pid --no-pivot " + testID, globals, "create", testID},
		"start":           {globals + " start " + testID, globals, "start", testID},
		"kill":            {globals + " kill " + testID + " 15", globals, "kill", testID},
		"kill all":        {globals + " kill --all " + testID + " 9", globals, "kill", testID},
		"delete":          {globals + " delete " + testID, globals, "delete", testID},
		"delete force":    {globals + " delete --force " + testID, globals, "delete", testID},
		"exec":            {globals + " exec --process /tmp/runc-process1 --console-socket /tmp/pty/pty.sock --detach --pid-file " + bundle + "/e.pid " + testID, globals, "exec", testID},
		"state":           {globals + " state " + testID, globals, "state", testID},
		"ps":              {globals + " ps --format json " + testID, globals, "ps", testID},
		"update":          {globals + " update --resources=- " + testID, globals, "update", testID},
		"features":        {"features", "", "features", ""},
		"version":         {"--version", "--version", "", ""},
		"equals signs":    {"--root=/r --log=/l --debug --rootless=false start " + testID, "--root=/r --log=/l --debug --rootless=false", "start", testID},
		"other container": {"--root /r state other", "--root /r", "state", ""},
		"ID in a global":  {"--root " + testID + " state other", "--root " + testID, "state", ""},
		"no value":        {"--root", "--root", "", ""},
		"nothing":         {"", "", "", ""},
	} {
		args := strings.Fields(test.line)
		c := parse(args)
		if got := strings.Join(c.globals, " "); got != test.globals || c.command != test.command || c.id != test.id {
			t.Errorf("%s: globals %q, command %q, id %q", name, got, c.command, c.id)
		}
		if !slices.Equal(c.args, args) {
			t.Errorf("%s: args %q", name, c.args)
		}
	}
	c := parse(strings.Fields(globals + " create --bundle " + bundle + " --pid-file=" + bundle + "/init.pid --no-pivot " + testID))
	if linux.Option(c.rest, "--bundle") != bundle || linux.Option(c.rest, "--pid-file") != bundle+"/init.pid" || linux.Option(c.rest, "--console-socket") != "" {
		t.Errorf("values of %q", c.rest)
	}
	if !slices.Contains(c.rest, "--no-pivot") || slices.Contains(c.rest, "--no-new-keyring") {
		t.Errorf("flags of %q", c.rest)
	}
	if want := "/run/docker/runtime-runc/moby/" + testID; c.stateDir() != want {
		t.Errorf("state in %s", c.stateDir())
	}
	if c := parse([]string{"start", testID}); c.stateDir() != "/run/runc/"+testID {
		t.Errorf("state in %s", c.stateDir())
	}
}

func TestWithout(t *testing.T) {
	for line, want := range map[string]string{
		"--root /r --log /l --log-format json": "--root /r --log-format json",
		"--log=/l --root /r --log-format=json": "--root /r --log-format=json",
		"--root /r":                            "--root /r",
		"--root /r --log":                      "--root /r",
		"--log /l":                             "",
	} {
		if got := strings.Join(without(strings.Fields(line), "--log"), " "); got != want {
			t.Errorf("%s: %q", line, got)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add("--root\n/r\n--log-format\njson\ncreate\n--bundle\n/b\n" + testID)
	f.Add("--log=/l\nkill\n--all\n" + testID + "\n9")
	f.Add("--root")
	f.Add("-\n--\n\n=")
	f.Fuzz(func(t *testing.T, line string) {
		args := strings.Split(line, "\n")
		c := parse(args)
		again := slices.Clone(c.globals)
		if len(again) < len(args) {
			again = append(append(again, c.command), c.rest...)
		}
		if !slices.Equal(again, args) || !slices.Equal(c.args, args) {
			t.Fatalf("%q became %q", args, again)
		}
		if c.id != "" && !slices.Contains(c.rest, c.id) {
			t.Fatalf("%q names no %s", c.rest, c.id)
		}
		for _, name := range []string{"--log", "--root"} {
			if left := without(args, name); linux.Option(left, name) != "" || len(left) > len(args) {
				t.Fatalf("%q has %s", left, name)
			}
		}
	})
}

// Neither this program nor a link to it is the runc that it stands in for.
func TestFindRunc(t *testing.T) {
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	var path []string
	for name, put := range map[string]func(string) error{
		"0-none":     func(string) error { return nil },
		"1-link":     func(runc string) error { return os.Symlink(self, runc) },
		"2-chain":    func(runc string) error { return os.Symlink("../1-link/runc", runc) },
		"3-dangling": func(runc string) error { return os.Symlink("nowhere", runc) },
		"4-file":     func(runc string) error { return os.WriteFile(runc, nil, 0o644) },
		"5-dir":      func(runc string) error { return os.Mkdir(runc, 0o755) },
	} {
		runc := filepath.Join(dir, name, "runc")
		path = append(path, filepath.Dir(runc))
		if err := errors.Join(os.Mkdir(filepath.Dir(runc), 0o755), put(runc)); err != nil {
			t.Fatal(err)
		}
	}
	slices.Sort(path)
	t.Setenv("PATH", strings.Join(path, ":"))
	if got, err := findRunc(); err == nil {
		t.Errorf("found %s", got)
	}
	for _, name := range []string{"6-runc", "7-later"} {
		runc := filepath.Join(dir, name, "runc")
		path = append(path, filepath.Dir(runc))
		if err := errors.Join(os.Mkdir(filepath.Dir(runc), 0o755), os.WriteFile(runc, nil, 0o755)); err != nil {
			t.Fatal(err)
		}
	}
	t.Setenv("PATH", strings.Join(path, ":"))
	if got, err := findRunc(); err != nil || got != filepath.Join(dir, "6-runc", "runc") {
		t.Errorf("found %s, %v", got, err)
	}
}

// lastError reads a log as containerd's shim does, in getLastRuntimeError of
// cmd/containerd-shim-runc-v2/process/utils.go.
func lastError(t *testing.T, path string) (message string) {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var log struct {
		Level string
		Msg   string
		Time  time.Time
	}
	for dec := json.NewDecoder(f); ; {
		err := dec.Decode(&log)
		if errors.Is(err, io.EOF) {
			return message
		}
		if err != nil {
			t.Fatal(err)
		}
		if log.Level == "error" {
			message = strings.TrimSpace(log.Msg)
		}
	}
}

func TestFail(t *testing.T) {
	path := filepath.Join(t.TempDir(), "log.json")
	before := `{"level":"error","msg":"an earlier call","time":"2026-08-01T00:00:00Z"}` + "\n"
	if err := os.WriteFile(path, []byte(before), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, line := range []string{"--log " + path + " --log-format json start x", "--log=" + path + " start x"} {
		message := "CRIU said \"no\":\n\tline 2 of " + line
		if code := parse(strings.Fields(line)).fail(message); code == 0 {
			t.Error("exit status 0")
		}
		if got := lastError(t, path); got != message {
			t.Errorf("containerd reads %q", got)
		}
	}
	if data, err := os.ReadFile(path); err != nil || !strings.HasPrefix(string(data), before) {
		t.Errorf("the log lost what was in it: %s, %v", data, err)
	}
	if code := parse(strings.Fields("--log /nonexistent/log start x")).fail("lost"); code == 0 {
		t.Error("exit status 0 without a log")
	}
}
