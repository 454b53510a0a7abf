package config

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"github.com/agnivade/levenshtein"
	"go.yaml.in/yaml/v3"
)

// FileName is looked for in the places of find.
const FileName = "checkpointctl.yaml"

// find returns the first file there is: in the working directory, in the
// user's configuration directory, in /etc. The file may name programs that
// root runs: one that another user could write is passed over.
func find() string {
	places := []string{FileName}
	if dir, err := os.UserConfigDir(); err == nil {
		places = append(places, filepath.Join(dir, "checkpointctl", FileName))
	}
	for _, path := range append(places, filepath.Join("/etc/checkpointctl", FileName)) {
		if trusted(path) {
			return path
		}
	}
	return ""
}

func trusted(path string) bool {
	info, err := os.Stat(path)
	if err != nil || !info.Mode().IsRegular() || info.Mode().Perm()&0o022 != 0 {
		return false
	}
	st, ok := info.Sys().(*syscall.Stat_t)
	return ok && (st.Uid == 0 || int(st.Uid) == os.Geteuid())
}

// readLines returns the line of every key in a YAML file. Keys that are no
// settings are an error that names the nearest one: a misspelt key must not be
// silently without effect.
func readLines(path string) (map[string]int, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	var doc yaml.Node
	if err := yaml.Unmarshal(data, &doc); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	if len(doc.Content) == 0 {
		return nil, nil // empty
	}
	if doc.Content[0].Kind != yaml.MappingNode {
		return nil, fmt.Errorf("%s:%d: want keys and values", path, doc.Content[0].Line)
	}
	lines := map[string]int{}
	collect(doc.Content[0], "", lines)
	var errs []error
	for key, line := range lines {
		if !known(key) {
			errs = append(errs, fmt.Errorf("%s:%d: unknown key %s; the nearest is %s", path, line, key, nearest(key)))
		}
	}
	slices.SortFunc(errs, func(a, b error) int { return strings.Compare(a.Error(), b.Error()) })
	return lines, errors.Join(errs...)
}

func collect(n *yaml.Node, prefix string, lines map[string]int) {
	for i := 0; i+1 < len(n.Content); i += 2 {
		key := prefix + strings.ToLower(n.Content[i].Value)
		lines[key] = n.Content[i].Line
		if value := n.Content[i+1]; value.Kind == yaml.MappingNode {
			collect(value, key+".", lines)
		}
	}
}

// known says whether a key is a setting or a section of some.
func known(key string) bool {
	for k := range Defaults() {
		if k == key || strings.HasPrefix(k, key+".") {
			return true
		}
	}
	return false
}

func nearest(key string) string {
	best, distance := "", -1
	for k := range Defaults() {
		if d := levenshtein.ComputeDistance(key, k); distance < 0 || d < distance || d == distance && k < best {
			best, distance = k, d
		}
	}
	return best
}
