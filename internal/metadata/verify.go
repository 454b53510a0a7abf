package metadata

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// addedLater are files that a checkpoint may have beyond its record.
var addedLater = []string{"restore.log"}

// Verify reads every byte of a checkpoint and returns what is not as it was
// recorded: files changed, cut short, missing or extra, and links to parents
// that lead elsewhere. Nothing means whole. Parents are checked by themselves:
// see Chain.
func (s Store) Verify(r Record) []string {
	dir := s.Path(r.Name, r.Checkpoint)
	files, _, err := Hash(dir)
	if err != nil {
		return []string{err.Error()}
	}
	var problems []string
	found := map[string]File{}
	for _, f := range files {
		found[f.Name] = f
	}
	for _, want := range r.Files {
		got, ok := found[want.Name]
		delete(found, want.Name)
		switch {
		case !ok:
			problems = append(problems, want.Name+": missing")
		case got.SizeBytes != want.SizeBytes:
			problems = append(problems, fmt.Sprintf("%s: has %d bytes, want %d", want.Name, got.SizeBytes, want.SizeBytes))
		case got.SHA256 != want.SHA256:
			problems = append(problems, want.Name+": content changed")
		}
	}
	for name := range found {
		if !slices.Contains(addedLater, name) {
			problems = append(problems, name+": not of this checkpoint")
		}
	}
	problems = append(problems, s.brokenLinks(dir, r)...)
	slices.Sort(problems)
	return problems
}

// brokenLinks follows CRIU's parent links, which must lead from the final
// images through the rounds to the parent's newest ones.
func (s Store) brokenLinks(dir string, r Record) []string {
	var steps []string // image directories, newest first
	if r.Kind != KindPreDump {
		steps = append(steps, dir)
	}
	if r.PreDump != nil {
		for n := len(r.PreDump.Rounds); n > 0; n-- {
			steps = append(steps, filepath.Join(dir, roundDir(n)))
		}
	}
	if r.Parent != "" {
		parent, err := s.Get(r.Name, r.Parent)
		if err != nil {
			return []string{fmt.Sprintf("parent %s: %v", r.Parent, err)}
		}
		steps = append(steps, filepath.Join(s.Path(r.Name, r.Parent), parent.Last()))
	}
	var problems []string
	for i := range len(steps) - 1 {
		link := filepath.Join(steps[i], "parent")
		to, err := os.Readlink(link)
		if err != nil || filepath.Join(steps[i], to) != steps[i+1] {
			name := strings.TrimPrefix(strings.TrimPrefix(link, dir), "/")
			problems = append(problems, fmt.Sprintf("%s: leads to %q, not to the images before", name, to))
		}
	}
	return problems
}
