package config

import (
	"errors"
	"fmt"
	"io"
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

// maxFile is more than any configuration needs, in bytes.
const maxFile = 1 << 20

// find returns the name and the text of the first file there is: in the working
// directory, in the user's configuration directory, in /etc; no name if there is
// none. The file may name programs that root runs: one that another user could
// write, or put another in the place of, is passed over.
func (l Loader) find() (name string, text []byte) {
	places := []string{FileName}
	if dir, err := os.UserConfigDir(); err == nil {
		places = append(places, filepath.Join(dir, "checkpointctl", FileName))
	}
	for _, path := range append(places, filepath.Join("/etc/checkpointctl", FileName)) {
		text, err := l.readTrusted(path)
		switch {
		case err == nil:
			return path, text
		case !errors.Is(err, os.ErrNotExist) && l.Skipped != nil:
			l.Skipped(fmt.Errorf("configuration file %s is not read: %w", path, err))
		}
	}
	return "", nil
}

// readTrusted opens a file once and looks at what it has opened: the path may lead
// elsewhere a moment later.
func (l Loader) readTrusted(path string) ([]byte, error) {
	f, err := open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if mode := info.Mode().Perm(); mode&0o022 != 0 {
		return nil, fmt.Errorf("others may write it (mode %04o)", mode)
	}
	if st, ok := info.Sys().(*syscall.Stat_t); !ok || st.Uid != 0 && int(st.Uid) != os.Geteuid() {
		return nil, errors.New("it belongs to another user")
	}
	if l.Safe != nil {
		if err := l.Safe(path); err != nil {
			return nil, err
		}
		// Where the path, which nobody else can change, leads is what was opened.
		if now, err := os.Stat(path); err != nil || !os.SameFile(info, now) {
			return nil, errors.New("it was replaced just now")
		}
	}
	return read(f)
}

// open returns a regular file. A FIFO must not hold us up.
func open(path string) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	info, err := f.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = fmt.Errorf("%s: not a file", path)
	}
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}

func read(f *os.File) ([]byte, error) {
	text, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err == nil && len(text) > maxFile {
		err = fmt.Errorf("%s has more than %d bytes", f.Name(), maxFile)
	}
	return text, err
}

// readNamed reads a file that the user named.
func readNamed(path string) ([]byte, error) {
	f, err := open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return read(f)
}

// parseLines returns a YAML text and the line of every key in it; those in lists
// have an index, as in mounts.rules[0].path. Keys that are no settings are an
// error that names the nearest one: a misspelt key must not be silently without
// effect.
func parseLines(path string, text []byte) (root *yaml.Node, lines map[string]int, err error) {
	var doc yaml.Node
	if err := yaml.Unmarshal(text, &doc); err != nil {
		return nil, nil, fmt.Errorf("%s: %w", path, err)
	}
	if len(doc.Content) == 0 {
		return &doc, nil, nil // empty
	}
	root = doc.Content[0]
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
