package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/checkpointctl/checkpointctl/internal/runtime"
)

// prepare writes a config.json, lets it be prepared, and returns what became of
// it, with the CRIU configuration.
func prepare(t *testing.T, config string, lines ...string) (out []byte, criu string, err error) {
	t.Helper()
	dir := t.TempDir()
	file := filepath.Join(dir, "config.json")
	if err := os.WriteFile(file, []byte(config), 0o644); err != nil {
		t.Fatal(err)
	}
	control := runtime.Control{Dir: t.TempDir()}
	err = prepareBundle(dir, testID, control, runtime.Request{CRIUConfig: lines})
	out, readErr := os.ReadFile(file)
	if readErr != nil {
		t.Fatal(readErr)
	}
	text, _ := os.ReadFile(control.Path(runtime.CRIUConfig))
	if err != nil && string(out) != config {
		t.Errorf("changed in spite of %v: %s", err, out)
	}
	if entries, _ := os.ReadDir(dir); len(entries) != 1 {
		t.Errorf("left in the bundle: %v", entries)
	}
	return out, string(text), err
}

// decode keeps numbers as they are written.
func decode(t *testing.T, data []byte) map[string]any {
	t.Helper()
	dec := json.NewDecoder(bytes.NewReader(data))
	dec.UseNumber()
	var v map[string]any
	if err := dec.Decode(&v); err != nil {
		t.Fatalf("%s: %v", data, err)
	}
	return v
}

type spec struct {
	Hooks map[string][]struct {
		Path    string
		Args    []string
		Env     []string
		Timeout json.Number
	}
	Annotations map[string]string
}

func read(t *testing.T, data []byte) (s spec) {
	t.Helper()
	if err := json.Unmarshal(data, &s); err != nil {
		t.Fatal(err)
	}
	return s
}

const config = `{
  "ociVersion": "1.2.0",
  "process": {"args": ["sh", "-c", "a < b && c > d"], "rlimits": [{"type": "RLIMIT_NOFILE", "hard": 18446744073709551615, "soft": 1e400}]},
  "linux": {"resources": {"memory": {"limit": 9007199254740993}, "cpu": {"shares": 1024.50}}},
  "hooks": {
    "prestart": [{"path": "/proc/7/exe", "args": ["libnetwork-setkey", "-exec-root=/var/run/docker"], "env": ["A=b"], "timeout": 12345678901234567890}],
    "createRuntime": [{"path": "/first"}],
    "poststop": [{"path": "/last", "unknown": [null]}]
  },
  "annotations": {"com.example": "kept"},
  "somethingNew": {"deep": [1, {"Ω": "\u00e9"}], "null": null}
}`

func TestPrepareBundle(t *testing.T) {
	out, _, err := prepare(t, config)
	if err != nil {
		t.Fatal(err)
	}
	was, is := decode(t, []byte(config)), decode(t, out)
	for _, ours := range []string{"hooks", "annotations"} {
		delete(was, ours)
		delete(is, ours)
	}
	if !reflect.DeepEqual(was, is) {
		t.Errorf("what is not ours became %v", is)
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	before, after := read(t, []byte(config)), read(t, out)
	pre, create := after.Hooks["prestart"], after.Hooks["createRuntime"]
	if len(pre) != 2 || !reflect.DeepEqual(pre[1:], before.Hooks["prestart"]) {
		t.Fatalf("prestart %+v", pre)
	}
	if len(create) != 2 || !reflect.DeepEqual(create[:1], before.Hooks["createRuntime"]) {
		t.Fatalf("createRuntime %+v", create)
	}
	if h := pre[0]; h.Path != self || !reflect.DeepEqual(h.Args[1:], []string{hookCommand, testID, runtime.Namespaces}) {
		t.Errorf("first of prestart: %+v", h)
	}
	if h := create[1]; h.Path != self || !reflect.DeepEqual(h.Args[1:], []string{hookCommand, testID, runtime.Connect}) {
		t.Errorf("last of createRuntime: %+v", h)
	}
	if !reflect.DeepEqual(after.Hooks["poststop"], before.Hooks["poststop"]) || !strings.Contains(string(out), `{"path":"/last","unknown":[null]}`) {
		t.Errorf("poststop %+v", after.Hooks["poststop"])
	}
	if after.Annotations["com.example"] != "kept" || filepath.Base(after.Annotations[criuConfig]) != runtime.CRIUConfig {
		t.Errorf("annotations %v", after.Annotations)
	}
}

func TestPrepareBareBundle(t *testing.T) {
	for _, config := range []string{`{}`, `{"hooks": null, "annotations": null}`, `{"hooks": {}, "annotations": {}}`, `{"hooks": {"prestart": null}}`} {
		out, _, err := prepare(t, config)
		if err != nil {
			t.Errorf("%s: %v", config, err)
			continue
		}
		s := read(t, out)
		if len(s.Hooks["prestart"]) != 1 || len(s.Hooks["createRuntime"]) != 1 || s.Annotations[criuConfig] == "" {
			t.Errorf("%s became %s", config, out)
		}
	}
	for _, config := range []string{``, `null`, `[]`, `{"hooks": []}`, `{"annotations": {"a": 1}}`, `{} trailing`} {
		if out, _, err := prepare(t, config); err == nil {
			t.Errorf("%s became %s", config, out)
		}
	}
}

func TestPrepareKeepsAdministratorsLines(t *testing.T) {
	given := filepath.Join(t.TempDir(), "my.conf")
	annotated := func(path string) string {
		data, err := json.Marshal(map[string]any{"annotations": map[string]string{criuConfig: path}})
		if err != nil {
			t.Fatal(err)
		}
		return string(data)
	}
	all, err := os.ReadFile(runcConf)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		t.Fatal(err)
	}
	if len(all) > 0 && all[len(all)-1] != '\n' {
		all = append(all, '\n')
	}
	for name, test := range map[string]struct{ text, config, want string }{
		"lines":           {"# mine\nlog-level 4\n", annotated(given), "# mine\nlog-level 4\ntcp-close\nshell-job\n"},
		"no last newline": {"log-level 4", annotated(given), "log-level 4\ntcp-close\nshell-job\n"},
		"empty file":      {"", annotated(given), "tcp-close\nshell-job\n"},
		"no file":         {"x", annotated(given + ".none"), "tcp-close\nshell-job\n"},
		"none wanted":     {"x", annotated(""), "tcp-close\nshell-job\n"},
		"of all":          {"x", `{}`, string(all) + "tcp-close\nshell-job\n"},
	} {
		if err := os.WriteFile(given, []byte(test.text), 0o600); err != nil {
			t.Fatal(err)
		}
		_, criu, err := prepare(t, test.config, " tcp-close", "shell-job\n")
		if err != nil || criu != test.want {
			t.Errorf("%s: %q, %v", name, criu, err)
		}
		if left, err := os.ReadFile(given); err != nil || string(left) != test.text {
			t.Errorf("%s: the file itself became %q, %v", name, left, err)
		}
	}
	if _, _, err := prepare(t, annotated(t.TempDir())); err == nil {
		t.Error("a directory is taken for a file")
	}
}

func FuzzPrepareBundle(f *testing.F) {
	f.Add(config)
	f.Add(`{"hooks": {"createRuntime": [1, null]}}`)
	f.Add(`{"hooks": null, "annotations": {"a": "b"}}`)
	f.Fuzz(func(t *testing.T, config string) {
		if strings.Contains(config, `\u`) || strings.Contains(config, criuConfig) {
			t.Skip() // it may name any file
		}
		out, _, err := prepare(t, config)
		if err != nil {
			return
		}
		was, is := decode(t, []byte(config)), decode(t, out)
		for _, hooks := range []string{"prestart", "createRuntime"} {
			list, _ := is["hooks"].(map[string]any)[hooks].([]any)
			if len(list) == 0 {
				t.Fatalf("no %s in %s", hooks, out)
			}
		}
		delete(was, "hooks")
		delete(is, "hooks")
		delete(is["annotations"].(map[string]any), criuConfig)
		if given, _ := was["annotations"].(map[string]any); len(given) == 0 {
			delete(was, "annotations")
			if len(is["annotations"].(map[string]any)) != 0 {
				t.Fatalf("annotations %v", is["annotations"])
			}
			delete(is, "annotations")
		} else {
			for key, value := range given {
				if value == nil {
					given[key] = "" // as runc reads it
				}
			}
		}
		if !reflect.DeepEqual(was, is) {
			t.Fatalf("%s became %s", config, out)
		}
	})
}
