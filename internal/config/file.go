package config

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
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

// readLines returns a YAML file and the line of every key in it; those in lists
// have an index, as in mounts.rules[0].path. Keys that are no settings are an
// error that names the nearest one: a misspelt key must not be silently without
// effect.
func readLines(path string) (*yaml.Node, map[string]int, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, nil, err
	}
	var doc yaml.Node
	if err := yaml.Unmarshal(data, &doc); err != nil {
		return nil, nil, fmt.Errorf("%s: %w", path, err)
	}
	if len(doc.Content) == 0 {
		return &doc, nil, nil // empty
	}
	root := doc.Content[0]
	if root.Kind != yaml.MappingNode {
		return nil, nil, fmt.Errorf("%s:%d: want keys and values", path, root.Line)
	}
	c := collector{known: keys(), lines: map[string]int{}}
	c.collect(root, "")
	for _, key := range c.unknown {
		err = errors.Join(err, fmt.Errorf("%s:%d: unknown key %s; the nearest is %s", path, c.lines[key], key, nearest(c.known, key)))
	}
	return root, c.lines, err
}

// collector walks a file. The keys of a container's name and of a list's index
// are in brackets.
type collector struct {
	known   map[string]bool
	lines   map[string]int
	unknown []string
}

func (c *collector) collect(n *yaml.Node, prefix string) {
	for i := 0; i+1 < len(n.Content); i += 2 {
		key := prefix + strings.ToLower(n.Content[i].Value)
		if strings.HasSuffix(prefix, "].containers.") {
			key = strings.TrimSuffix(prefix, ".") + "[" + n.Content[i].Value + "]"
		}
		c.lines[key] = n.Content[i].Line
		if !c.known[inList.ReplaceAllString(key, "[]")] {
			c.unknown = append(c.unknown, key)
			continue // what is below is no better known
		}
		switch value := n.Content[i+1]; value.Kind {
		case yaml.MappingNode:
			c.collect(value, key+".")
		case yaml.SequenceNode:
			for n, item := range value.Content {
				if item.Kind == yaml.MappingNode {
					c.collect(item, fmt.Sprintf("%s[%d].", key, n))
				}
			}
		}
	}
}

var inList = regexp.MustCompile(`\[[^\]]*\]`)

// keys are all that a file may have, and the sections they are in.
func keys() map[string]bool {
	all := []string{"mounts.rules[].path", "mounts.rules[].type", "mounts.rules[].action"}
	for _, k := range []string{
		"name", "select.all", "select.names", "select.labels", "select.compose_project", "select.image", "select.exclude",
		"name_template", "concurrency", "consistent", "allow_empty",
	} {
		all = append(all, "batches[]."+k)
	}
	for k := range Defaults() {
		all = append(all, k)
		if strings.HasPrefix(k, "checkpoint.") || strings.HasPrefix(k, "pre_dump.") {
			all = append(all, "batches[].options."+k, "batches[].containers[]."+k)
		}
		if rule, ok := strings.CutPrefix(k, "prune."); ok {
			all = append(all, "batches[].keep."+rule)
		}
	}
	known := map[string]bool{}
	for _, k := range all {
		for ; k != ""; k = k[:max(strings.LastIndexAny(k, ".["), 0)] {
			known[k] = true
		}
	}
	return known
}

// nearest is the key that is most like this one, with its places in lists.
func nearest(known map[string]bool, key string) string {
	plain, best, distance := inList.ReplaceAllString(key, "[]"), "", -1
	for k := range known {
		if d := levenshtein.ComputeDistance(plain, k); distance < 0 || d < distance || d == distance && k < best {
			best, distance = k, d
		}
	}
	for _, place := range inList.FindAllString(key, -1) {
		best = strings.Replace(best, "[]", place, 1)
	}
	return best
}
