package mounts

import (
	"fmt"
	"path"
	"slices"
	"strings"
)

// Action is what CRIU does with a mount.
type Action string

const (
	// Dump leaves the mount to CRIU, which records it and mounts it again.
	Dump Action = "dump"
	// External tells CRIU that the mount is provided from outside at restore.
	External Action = "external"
	// Refuse stops the checkpoint before the container is touched.
	Refuse Action = "refuse"
)

// Rule overrides the built-in decision for mounts that match every field set.
type Rule struct {
	Path   string `mapstructure:"path"` // path.Match pattern
	Type   string `mapstructure:"type"` // filesystem type
	Action Action `mapstructure:"action"`
}

// Item is the decision for one mount.
type Item struct {
	Mount  Mount
	Action Action
	Key    string // CRIU's ext-mount key, external mounts only
	Value  string // what the key maps to in the images
	Reason string
}

// Plan holds one item for each mount, in the order of the table.
type Plan struct {
	Items []Item
}

// At returns the item of the innermost mount that a path is on; the zero Item for
// none.
func (p Plan) At(file string) Item {
	var best Item
	for _, i := range p.Items {
		at := strings.TrimSuffix(i.Mount.Path, "/")
		// A later mount at the same path covers the earlier one.
		if (file == at || strings.HasPrefix(file, at+"/")) && len(i.Mount.Path) >= len(best.Mount.Path) {
			best = i
		}
	}
	return best
}

// Facts are what the policy knows beside the mount table. Paths are in the
// container, with symbolic links resolved as the runtime resolves them.
type Facts struct {
	// Binds are the destinations that Docker or the OCI config bind-mounts:
	// volumes, host binds, hostname, hosts, resolv.conf, docker-init.
	Binds map[string]bool
	// Own are the other destinations that the runtime mounts at start.
	Own map[string]bool
}

// Policy decides by rules first, then by what runc does at restore.
type Policy struct {
	Rules []Rule
}

// dumped are the filesystems whose mounts CRIU can make again by itself.
var dumped = map[string]string{
	"proc":    "kernel filesystem, mounted again",
	"sysfs":   "kernel filesystem, mounted again",
	"devpts":  "kernel filesystem, mounted again",
	"mqueue":  "kernel filesystem, mounted again",
	"tmpfs":   "content is dumped with the images",
	"cgroup2": "namespaced or unified cgroup, mounted again",
}

// Plan returns a decision with its reason for every mount.
//
// External mounts are keyed by their path in the container, because runc maps
// them back by destination (libcontainer/criu_linux.go, addCriuDumpMount);
// masked files are valued /dev/null for the same reason (addMaskPaths).
func (p Policy) Plan(list []Mount, facts Facts) Plan {
	plan := Plan{Items: make([]Item, 0, len(list))}
	for _, m := range list {
		plan.Items = append(plan.Items, p.decide(m, facts))
	}
	return plan
}

func (p Policy) decide(m Mount, facts Facts) Item {
	item := Item{Mount: m}
	for _, r := range p.Rules {
		if r.matches(m) {
			item.Action, item.Reason = r.Action, fmt.Sprintf("rule %s", r)
			return item.keyed(m.Path)
		}
	}
	switch {
	case m.Path == "/":
		item.Action, item.Reason = Dump, "root filesystem, prepared by the runtime"
	// A masked file is a bind of the null device of devtmpfs, or of the
	// container's own tmpfs on /dev.
	case m.Root == "/null" && (m.FSType == "devtmpfs" || m.FSType == "tmpfs") && !facts.Binds[m.Path]:
		item.Action, item.Reason = External, "masked path"
		item.Key, item.Value = m.Path, "/dev/null"
	case facts.Binds[m.Path]:
		item.Action, item.Reason = External, "bind mount, made again by the runtime"
	// Below a recursive bind lie mounts of the host. CRIU would dump the
	// content of a tmpfs there, and the runtime brings them along anyway.
	case facts.underBind(m.Path) && !facts.Own[m.Path]:
		item.Action, item.Reason = Refuse, "mounted below a bind mount and unknown to the runtime, which would not make it again"
	case m.FSType == "cgroup":
		item.Action, item.Reason = External, "cgroup v1 hierarchy, bound by the runtime"
	case dumped[m.FSType] != "":
		item.Action, item.Reason = Dump, dumped[m.FSType]
	case m.FSType == "devtmpfs":
		item.Action, item.Reason = External, "device node of the host"
	default:
		item.Action, item.Reason = Refuse, fmt.Sprintf("%s mount that neither CRIU nor the runtime would make again", m.FSType)
	}
	return item.keyed(m.Path)
}

func (i Item) keyed(path string) Item {
	if i.Action == External && i.Key == "" {
		i.Key, i.Value = path, path
	}
	return i
}

// underBind says whether a mount came in with a recursive bind above it.
func (f Facts) underBind(p string) bool {
	for d := path.Dir(p); d != "/" && d != "."; d = path.Dir(d) {
		if f.Binds[d] {
			return true
		}
	}
	return false
}

func (r Rule) matches(m Mount) bool {
	if r.Path == "" && r.Type == "" {
		return false
	}
	if r.Type != "" && r.Type != m.FSType {
		return false
	}
	if r.Path == "" {
		return true
	}
	ok, _ := path.Match(r.Path, m.Path)
	return ok
}

func (r Rule) String() string {
	return fmt.Sprintf("path=%q type=%q action=%s", r.Path, r.Type, r.Action)
}

// RefusedError names the mounts that stop a checkpoint: in its message the first of
// them.
type RefusedError struct{ Items []Item }

// shown mounts are enough to read; inspect lists all.
const shown = 3

func (e *RefusedError) Error() string {
	var b strings.Builder
	for i, item := range e.Items[:min(len(e.Items), shown)] {
		if i > 0 {
			b.WriteString("; ")
		}
		fmt.Fprintf(&b, "mount %s (%s): %s", item.Mount.Path, item.Mount.FSType, item.Reason)
	}
	if more := len(e.Items) - shown; more > 0 {
		fmt.Fprintf(&b, "; and %d more, see checkpointctl inspect", more)
	}
	return b.String()
}

// Refused returns a *RefusedError, or nil when every mount can be dumped.
func (p Plan) Refused() error {
	var items []Item
	for _, i := range p.Items {
		if i.Action == Refuse {
			items = append(items, i)
		}
	}
	if items == nil {
		return nil
	}
	return &RefusedError{Items: items}
}

// ReadOnlyTmpfs returns the paths of tmpfs that CRIU would dump and nobody can write
// to, such as those over masked directories; without those that have mounts below.
func (p Plan) ReadOnlyTmpfs() []string {
	var paths []string
	for _, i := range p.Items {
		m := i.Mount
		below := func(o Item) bool {
			return strings.HasPrefix(o.Mount.Path, m.Path+"/") || o.Mount.Path == m.Path && o.Mount.ID != m.ID
		}
		if i.Action == Dump && m.FSType == "tmpfs" && m.Root == "/" && m.ReadOnly && !slices.ContainsFunc(p.Items, below) {
			paths = append(paths, m.Path)
		}
	}
	return paths
}

// External returns the ext-mount map that CRIU takes.
func (p Plan) External() map[string]string {
	out := map[string]string{}
	for _, i := range p.Items {
		if i.Action == External {
			out[i.Key] = i.Value
		}
	}
	return out
}
