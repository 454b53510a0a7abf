package checkpoint

import (
	"context"
	"fmt"
	"path/filepath"

	"github.com/checkpointctl/checkpointctl/internal/criuimg"
	"github.com/checkpointctl/checkpointctl/internal/metadata"
)

// Verify returns what is not as it was recorded, and, unless sizes alone are
// looked at, where CRIU's images contradict each other: of an encrypted
// checkpoint only if there are identities. Nothing means whole. Parents are
// checked by themselves. The error is of a checkpoint that cannot be opened.
func (o Opener) Verify(ctx context.Context, s metadata.Store, r metadata.Record, depth metadata.Depth) ([]string, error) {
	problems := s.Verify(r, depth)
	dir := s.Path(r.Name, r.Checkpoint)
	switch {
	case depth == metadata.Sizes, r.Encrypted && len(o.Identities) == 0, r.Encrypted && problems != nil:
		return problems, nil
	case r.Encrypted:
		stage, _, plain, err := o.Open(ctx, s, r)
		if err != nil {
			return problems, fmt.Errorf("%s/%s: %w", r.Name, r.Checkpoint, err)
		}
		defer func() { _ = stage.Remove() }()
		dir, r = stage.Dir, plain
	}
	return append(problems, ImageProblems(dir, r)...), nil
}

// ImageProblems returns where CRIU's images in a directory contradict each other
// or the record.
func ImageProblems(dir string, r metadata.Record) []string {
	var problems []string
	for _, images := range r.ImageDirs() {
		final, prefix := images == ".", images+"/"
		if final {
			prefix = ""
		}
		for _, p := range criuimg.CheckImages(criuimg.Dir(filepath.Join(dir, images)), final) {
			problems = append(problems, prefix+p)
		}
	}
	return problems
}
