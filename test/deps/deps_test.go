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
	"cmd/checkpointctl":         {"cmd/checkpointctl/cli"},
	"cmd/checkpointctl-runtime": {"internal/layer", "internal/linux", "internal/linux/conntrack", "internal/linux/netns", "internal/linux/sysctl", "internal/runtime"},
	"cmd/checkpointctl/cli": {
		"configs", "docs", "internal/archive", "internal/batch", "internal/changes", "internal/checkpoint", "internal/compare", "internal/config", "internal/contents", "internal/coredump", "internal/criu", "internal/criuimg", "internal/docker", "internal/dockerd", "internal/manual", "internal/metadata", "internal/metrics", "internal/mounts", "internal/park", "internal/podman",
		"internal/preflight", "internal/recovery", "internal/registry", "internal/report", "internal/restore", "internal/runtime", "internal/search", "internal/seal", "internal/signature", "internal/snapshot",
	},
	"internal/archive":               {"internal/linux/sparse", "internal/metadata", "internal/seal", "internal/signature"},
	"internal/batch":                 {"internal/docker"},
	"internal/checkpoint":            {"internal/criu", "internal/criuimg", "internal/docker", "internal/layer", "internal/linux", "internal/linux/conntrack", "internal/linux/dockerproxy", "internal/linux/hold", "internal/linux/netns", "internal/linux/sockdiag", "internal/linux/sockopt", "internal/linux/sysctl", "internal/linux/tasks", "internal/metadata", "internal/mounts", "internal/preflight", "internal/recovery", "internal/runtime", "internal/seal"},
	"internal/restore":               {"internal/changes", "internal/checkpoint", "internal/criu", "internal/criuimg", "internal/docker", "internal/layer", "internal/linux", "internal/linux/conntrack", "internal/linux/hold", "internal/linux/netns", "internal/linux/sockdiag", "internal/linux/sockopt", "internal/linux/tasks", "internal/metadata", "internal/mounts", "internal/runtime", "internal/seal"},
	"internal/docker":                {"internal/linux", "internal/mounts", "internal/runtime"},
	"internal/dockerd":               {"internal/linux", "internal/runtime"},
	"internal/compare":               {"internal/contents", "internal/criuimg", "internal/layer", "internal/redact", "internal/snapshot"},
	"internal/config":                nil,
	"internal/contents":              {"internal/archive", "internal/checkpoint", "internal/criuimg", "internal/metadata", "internal/seal"},
	"internal/coredump":              {"internal/criuimg", "internal/linux/sparse", "internal/snapshot"},
	"internal/redact":                nil,
	"internal/report":                {"internal/compare", "internal/contents", "internal/criuimg", "internal/metadata", "internal/redact", "internal/snapshot"},
	"internal/snapshot":              {"internal/criuimg", "internal/linux"},
	"internal/criu":                  {"internal/criuimg"},
	"internal/criuimg":               nil,
	"internal/criuimg/criuimgtest":   nil,
	"internal/linux":                 {"internal/linux/netns"},
	"internal/manual":                nil,
	"internal/metadata":              {"internal/linux/sparse"},
	"internal/metrics":               nil,
	"internal/mounts":                nil,
	"internal/recovery":              {"internal/criu", "internal/criuimg", "internal/docker", "internal/layer", "internal/linux", "internal/linux/hold", "internal/linux/netlock", "internal/linux/netns", "internal/metadata", "internal/runtime"},
	"internal/park":                  {"internal/docker", "internal/metadata", "internal/restore"},
	"internal/podman":                {"internal/archive", "internal/checkpoint", "internal/criuimg", "internal/layer", "internal/metadata", "internal/seal"},
	"internal/registry":              {"internal/archive", "internal/metadata"},
	"internal/runtime":               {"internal/linux", "internal/linux/conntrack", "internal/linux/sysctl"},
	"internal/search":                {"internal/criuimg", "internal/snapshot"},
	"internal/seal":                  {"internal/linux/sparse"},
	"internal/signature":             nil,
	"internal/linux/conntrack":       {"internal/linux/netns"},
	"internal/linux/hold":            {"internal/linux/netns"},
	"internal/linux/netlock":         {"internal/linux", "internal/linux/netns"},
	"internal/linux/dockerproxy":     nil,
	"internal/linux/netns":           nil,
	"internal/linux/netns/netnstest": nil,
	"internal/linux/sysctl":          {"internal/linux/netns"},
	"internal/linux/sockdiag":        {"internal/linux/netns"},
	"internal/linux/sockopt":         {"internal/linux/netns"},
	"internal/linux/sparse":          nil,
	"internal/linux/tasks":           nil,
	"internal/changes":               nil,
	"internal/layer":                 {"internal/linux/sparse"},
	"internal/preflight":             {"internal/linux/tasks", "internal/mounts"},
}

// users are the only packages that may import a library.
var users = map[string][]string{
	"github.com/ti-mo/":                              {"internal/linux/conntrack"},
	"github.com/google/nftables":                     {"internal/linux/hold", "internal/linux/netlock"},
	"github.com/spf13/viper":                         {"internal/config"},
	"github.com/docker/docker/":                      {"internal/docker"},
	"github.com/checkpoint-restore/go-criu/v7/crit/": {"internal/criuimg", "internal/criuimg/criuimgtest", "internal/snapshot"},
	"github.com/checkpoint-restore/go-criu/v7/magic": {"internal/criuimg", "internal/criuimg/criuimgtest"},
	"github.com/checkpoint-restore/go-criu/v7/rpc":   {"internal/criu"},
	"filippo.io/age":                                 {"internal/seal"},
	"golang.org/x/crypto/ssh":                        {"internal/signature"},
	"github.com/klauspost/compress":                  {"internal/archive"},
	"github.com/prometheus/":                         {"internal/metrics"},
	"oras.land/":                                     {"internal/registry"},
}

// light are packages that small static programs import: with all that they
// need in turn they take no other libraries than those of these paths.
var light = map[string][]string{
	"internal/layer":   {"golang.org/x/"},
	"internal/runtime": {"golang.org/x/", "github.com/moby/sys/mountinfo", "github.com/ti-mo/", "github.com/mdlayher/", "github.com/pkg/errors", "github.com/josharian/native", "github.com/google/go-cmp"},
}

func TestLight(t *testing.T) {
	for name, libraries := range light {
		out, err := exec.Command("go", "list", "-deps", "-f", "{{if not .Standard}}{{.ImportPath}}{{end}}", module+name).Output()
		if err != nil {
			t.Fatal(err)
		}
		for _, p := range strings.Fields(string(out)) {
			if !strings.HasPrefix(p, module) && !slices.ContainsFunc(libraries, func(l string) bool { return strings.HasPrefix(p, l) }) {
				t.Errorf("%s needs %s", name, p)
			}
		}
	}
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
			for library, may := range users {
				if strings.HasPrefix(i, library) && !slices.Contains(may, name) {
					t.Errorf("%s imports %s, which only %s may", name, i, strings.Join(may, ", "))
				}
			}
		}
	}
	if seen != len(allowed) {
		t.Errorf("%d packages listed, %d known", seen, len(allowed))
	}
}
