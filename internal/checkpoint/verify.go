package checkpoint

import (
	"path/filepath"

	"github.com/checkpointctl/checkpointctl/internal/criu"
	"github.com/checkpointctl/checkpointctl/internal/metadata"
)

// Verify returns what is not as it was recorded, and, unless sizes alone are
// looked at, where CRIU's images contradict each other. Nothing means whole.
// Parents are checked by themselves.
func Verify(s metadata.Store, r metadata.Record, depth metadata.Depth) []string {
	problems := s.Verify(r, depth)
	if depth > metadata.Sizes {
		problems = append(problems, imageProblems(s.Path(r.Name, r.Checkpoint), r)...)
	}
	return problems
}

func imageProblems(dir string, r metadata.Record) []string {
	var problems []string
	for _, images := range r.ImageDirs() {
		final, prefix := images == ".", images+"/"
		if final {
			prefix = ""
		}
		for _, p := range criu.CheckImages(filepath.Join(dir, images), final) {
			problems = append(problems, prefix+p)
		}
	}
	return problems
}
