// Package deps holds the imports of the project to their directions.
package deps

import (
	"encoding/json"
	"errors"
	"io"
	"os/exec"
	"slices"
	"strings"
	"testing"
)

const module = "github.com/checkpointctl/checkpointctl/"

// allowed are the project's own packages that a package may import.
var allowed = map[string][]string{
	"cmd/checkpointctl": {"cmd/checkpointctl/cli"},
	"cmd/checkpointctl/cli": {
		"internal/batch", "internal/changes", "internal/checkpoint", "internal/config", "internal/criu", "internal/docker", "internal/metadata", "internal/mounts", "internal/seal",
	},
	"internal/batch":      {"internal/docker"},
	"internal/checkpoint": {"internal/changes", "internal/criu", "internal/docker", "internal/metadata", "internal/mounts", "internal/seal"},
	"internal/docker":     {"internal/mounts"},
	"internal/changes":    nil,
	"internal/config":     nil,
	"internal/criu":       nil,
	"internal/metadata":   nil,
	"internal/mounts":     nil,
	"internal/seal":       nil,
}

// users are the only packages that may import a library.
var users = map[string]string{
	"github.com/spf13/viper":                 "internal/config",
	"github.com/docker/docker/":              "internal/docker",
	"github.com/checkpoint-restore/go-criu/": "internal/criu",
	"filippo.io/age":                         "internal/seal",
}

func TestImports(t *testing.T) {
	out, err := exec.Command("go", "list", "-json=ImportPath,Imports", module+"cmd/...", module+"internal/...").Output()
	if err != nil {
		t.Fatal(err)
	}
	seen := 0
	for dec := json.NewDecoder(strings.NewReader(string(out))); ; seen++ {
		var p struct {
			ImportPath string
			Imports    []string
		}
		if err := dec.Decode(&p); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatal(err)
		}
		name := strings.TrimPrefix(p.ImportPath, module)
		may, known := allowed[name]
		if !known {
			t.Errorf("%s: new package, say here what it may import", name)
		}
		for _, i := range p.Imports {
			if own, ok := strings.CutPrefix(i, module); ok && !slices.Contains(may, own) {
				t.Errorf("%s imports %s", name, own)
			}
			for library, user := range users {
				if strings.HasPrefix(i, library) && name != user {
					t.Errorf("%s imports %s, which only %s may", name, i, user)
				}
			}
		}
	}
	if seen != len(allowed) {
		t.Errorf("%d packages listed, %d known", seen, len(allowed))
	}
}
