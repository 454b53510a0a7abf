// Package changes finds which files of a container were changed after a moment,
// and which of them speak against a restore of memory from that moment.
package changes

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"unicode"
)

// Kind is what became of a file, as far as it can be seen.
type Kind string

// What became of a file.
const (
	Changed    Kind = "changed"
	Added      Kind = "added"
	Deleted    Kind = "deleted"
	Replaced   Kind = "replaced"                      // by another file of this name
	Attributes Kind = "attributes changed"            // or renamed, or linked
	Removed    Kind = "something in it was deleted"   // of a directory
	Mapped     Kind = "mapped and writable"           // its changes have no time
	Foreign    Kind = "not of the checkpoint's files" // in another container's layer or volume
)

// Change is one file, by its path in the container.
type Change struct {
	Path string
	Kind Kind
}

// String is one line, whatever the path.
func (c Change) String() string {
	path := c.Path
	if strings.ContainsFunc(path, unicode.IsControl) {
		path = strconv.Quote(path)
	}
	return fmt.Sprintf("%s (%s)", path, c.Kind)
}

// Shown is how many changes a List keeps.
const Shown = 10

// List counts changes and keeps the first Shown of them by path.
type List struct {
	Total int
	first []Change
}

// Add counts a change.
func (l *List) Add(c Change) {
	l.Total++
	if l.first = append(l.first, c); len(l.first) >= 100*Shown {
		l.first = l.First()
	}
}

// First returns the first Shown changes, sorted by path.
func (l *List) First() []Change {
	sorted := slices.Clone(l.first)
	slices.SortFunc(sorted, func(a, b Change) int { return strings.Compare(a.Path, b.Path) })
	return sorted[:min(len(sorted), Shown)]
}

// String is the number of changes and the first ones.
func (l *List) String() string {
	var text []string
	for _, c := range l.First() {
		text = append(text, c.String())
	}
	if more := l.Total - len(text); more > 0 {
		text = append(text, fmt.Sprintf("and %d more", more))
	}
	what := "files"
	if l.Total == 1 {
		what = "file"
	}
	return fmt.Sprintf("%d %s, %s", l.Total, what, strings.Join(text, ", "))
}

// Found is what a search found.
type Found struct {
	// Own are changes that do not go with the memory of the checkpoint: of files
	// that belong to the container alone, or that it had in use.
	Own List
	// Shared are changes of other files, which others may change, too.
	Shared List
	// Resized are the files in use that have another size than they must have.
	Resized []string
	// Missing are files that a restore needs and that are gone.
	Missing []string
}

// RefusedError is a restore that would give a container memory that does not
// agree with its files.
type RefusedError struct {
	Container, Checkpoint string // as in web and web/before-upgrade
	State                 string // of the container
	Changes               List
	// Resized and Missing, if any, stop the restore in any case, unless the files are
	// rolled back: CRIU opens no file of another size than it had.
	Resized, Missing []string
	// RollBack says that the checkpoint has all files that changed.
	RollBack bool
}

// Hint is what can be done.
func (e *RefusedError) Hint() string {
	switch {
	case e.RollBack && len(e.Missing) > 0:
		return "--files=rollback restores with the files of the checkpoint, which had open " + first(e.Missing)
	case len(e.Missing) > 0:
		return "a restore needs what the container had open: put back " + first(e.Missing)
	case len(e.Resized) == 0 && e.RollBack:
		return "--files=keep restores with the files as they are now, --files=rollback with those of the checkpoint"
	case len(e.Resized) == 0:
		return "--files=keep restores with the files as they are now"
	case e.RollBack:
		return "--files=rollback restores with the files of the checkpoint; as they are now CRIU cannot open " + first(e.Resized)
	}
	return "CRIU restores an open file only in its size of then: put back " + first(e.Resized)
}

func first(paths []string) string { return strings.Join(paths[:min(len(paths), Shown)], ", ") }

func (e *RefusedError) Error() string {
	if e.Changes.Total == 0 {
		return fmt.Sprintf("%s needs %s, gone from container %s, which is %s, as before",
			e.Checkpoint, first(e.Missing), e.Container, e.State)
	}
	return fmt.Sprintf("files of container %s changed since %s: %s; the container is %s, as before",
		e.Container, e.Checkpoint, e.Changes.String(), e.State)
}
