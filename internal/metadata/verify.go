package metadata

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// addedLater are files that a checkpoint may have beyond its record.
var addedLater = []string{RecordFile, "restore.log", "restore.log.age"}

// parentLink is CRIU's name for the images that others build on.
const parentLink = "parent"

// Depth is how closely a checkpoint is compared with its record.
type Depth int

const (
	// Sizes reads no file: what was changed in place or added is not seen.
	Sizes Depth = iota
	// Checksums reads every byte, and takes a tenth of the time of Hashes: a
	// CRC-32C finds what disks do to files, not what somebody did on purpose.
	Checksums
	// Hashes compares SHA-256 too, of what has one.
	Hashes
)

// Verify returns what is not as it was recorded: files changed, cut short,
// missing or extra, and links to parents that lead elsewhere. Nothing means
// whole. Parents are checked by themselves: see Chain.
func (s Store) Verify(r Record, depth Depth) []string {
	problems := s.verifySizes(r)
	if depth > Sizes {
		dir := s.Path(r.Name, r.Checkpoint)
		problems = append(problems, extra(dir, r)...)
		problems = append(problems, changed(dir, r, depth, s.Progress)...)
	}
	slices.Sort(problems)
	return problems
}

func changed(dir string, r Record, depth Depth, report func(done, total int64)) []string {
	switch {
	case slices.ContainsFunc(r.Files, func(f File) bool { return f.CRC32C == "" }):
		depth = Hashes
	case !r.hashed():
		depth = Checksums
	}
	var files []File
	var err error
	if depth == Hashes {
		files, err = readHashes(dir, report)
	} else {
		files, err = readChecksums(dir, false, report)
	}
	if err != nil {
		return []string{err.Error()}
	}
	found := byName(files)
	var problems []string
	for _, want := range r.Files {
		got, ok := found[want.Name]
		if ok && got.SizeBytes == want.SizeBytes && !got.Fits(want) {
			problems = append(problems, want.Name+": content changed")
		}
	}
	return problems
}

// Damaged is ErrDamaged with what is wrong with the checkpoint.
func (r Record) Damaged(problems ...string) error {
	return fmt.Errorf("%w: %s/%s: %s", ErrDamaged, r.Name, r.Checkpoint, strings.Join(problems, ", "))
}

func byName(files []File) map[string]File {
	named := make(map[string]File, len(files))
	for _, f := range files {
		named[f.Name] = f
	}
	return named
}

func (r Record) hashed() bool {
	return !slices.ContainsFunc(r.Files, func(f File) bool { return f.SHA256 == "" })
}

// Hashed returns the record with a SHA-256 of each file, as an archive's must have. It
// reads the files of a record without. The error is ErrDamaged if they are not as they
// were recorded.
func (s Store) Hashed(r Record) (Record, error) {
	if r.hashed() {
		return r, nil
	}
	if problems := s.verifySizes(r); problems != nil {
		return r, r.Damaged(problems...)
	}
	files, err := readHashes(s.Path(r.Name, r.Checkpoint), s.Progress)
	if err != nil {
		return r, err
	}
	found := byName(files)
	r.Files = slices.Clone(r.Files)
	for i, want := range r.Files {
		if !found[want.Name].Fits(want) {
			return r, r.Damaged(want.Name + ": content changed")
		}
		r.Files[i].SHA256 = found[want.Name].SHA256
	}
	return r, nil
}

func (s Store) verifySizes(r Record) []string {
	dir := s.Path(r.Name, r.Checkpoint)
	root, err := os.OpenRoot(dir)
	if err != nil {
		return []string{err.Error()}
	}
	defer root.Close()
	var problems []string
	for _, f := range r.Files {
		info, err := root.Lstat(f.Name)
		switch {
		case errors.Is(err, fs.ErrNotExist):
			problems = append(problems, f.Name+": missing")
		case err != nil:
			problems = append(problems, fmt.Sprintf("%s: %v", f.Name, err))
		case !info.Mode().IsRegular():
			problems = append(problems, f.Name+": not a file")
		case info.Size() != f.SizeBytes:
			problems = append(problems, fmt.Sprintf("%s: has %d bytes, want %d", f.Name, info.Size(), f.SizeBytes))
		}
	}
	return append(problems, s.brokenLinks(dir, r)...)
}

// extra names what is in the directory and not in the record.
func extra(dir string, r Record) []string {
	known := slices.Clone(addedLater)
	for _, f := range r.Files {
		known = append(known, f.Name)
	}
	for _, d := range r.ImageDirs() {
		known = append(known, filepath.Join(d, parentLink)) // see brokenLinks
	}
	slices.Sort(known)
	var problems []string
	err := filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		name, err := filepath.Rel(dir, path)
		if _, ok := slices.BinarySearch(known, name); !ok {
			problems = append(problems, name+": not of this checkpoint")
		}
		return err
	})
	if err != nil {
		problems = append(problems, err.Error())
	}
	return problems
}

// ImageDirs are the directories with CRIU's images, below the checkpoint's,
// newest first.
func (r Record) ImageDirs() []string {
	var dirs []string
	if r.Kind != KindPreDump {
		dirs = append(dirs, ".")
	}
	if r.PreDump != nil {
		for n := len(r.PreDump.Rounds); n > 0; n-- {
			dirs = append(dirs, roundDir(n))
		}
	}
	return dirs
}

// brokenLinks follows CRIU's parent links, which must lead from the final
// images through the rounds to the parent's newest ones, and to nothing else.
func (s Store) brokenLinks(dir string, r Record) []string {
	steps := r.ImageDirs()
	for i := range steps {
		steps[i] = filepath.Join(dir, steps[i])
	}
	if r.Parent != "" {
		parent, err := s.Get(r.Name, r.Parent)
		if err != nil {
			return []string{fmt.Sprintf("parent %s: %v", r.Parent, err)}
		}
		steps = append(steps, filepath.Join(s.Path(r.Name, r.Parent), parent.Last()))
	}
	var problems []string
	for i, step := range steps {
		if r.Parent != "" && i == len(steps)-1 {
			break // the parent's own
		}
		link := filepath.Join(step, parentLink)
		name := strings.TrimPrefix(strings.TrimPrefix(link, dir), "/")
		to, err := os.Readlink(link)
		switch last := i == len(steps)-1; {
		case last && !errors.Is(err, fs.ErrNotExist):
			problems = append(problems, fmt.Sprintf("%s: leads to %q, but there are no images before", name, to))
		case !last && (err != nil || filepath.Join(step, to) != steps[i+1]):
			problems = append(problems, fmt.Sprintf("%s: leads to %q, not to the images before", name, to))
		}
	}
	return problems
}
