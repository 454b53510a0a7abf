package archive

import (
	"cmp"
	"fmt"
	"path"
	"slices"
	"strings"

	"github.com/checkpointctl/checkpointctl/internal/metadata"
)

// Source is a file of an archive and where it comes from.
type Source struct {
	metadata.File                 // as the archive's record has it
	Of            metadata.Record // whose file it is
	Name          string          // there
}

// Chain returns a checkpoint with those that it continues, or ErrNotExportable for one
// that nothing can be restored from.
func Chain(s metadata.Store, rec metadata.Record) ([]metadata.Record, error) {
	if rec.Kind == metadata.KindPreDump {
		return nil, fmt.Errorf("%w: %s/%s holds rounds of a pre-dump alone, which only the container that runs here can continue", ErrNotExportable, rec.Name, rec.Checkpoint)
	}
	return s.Chain(rec)
}

// Flatten returns the record of a checkpoint that needs no other, and the files of
// it. What it continues becomes rounds of its own: their images are what CRIU looks
// into for memory that did not change since.
func Flatten(chain []metadata.Record) (metadata.Record, []Source) {
	r := chain[0]
	var files []Source
	var rounds []metadata.Round
	for _, link := range slices.Backward(chain) {
		first := len(rounds)
		if link.PreDump != nil {
			rounds = append(rounds, link.PreDump.Rounds...)
		}
		own := link.Checkpoint == r.Checkpoint
		for _, f := range link.Files {
			name, belongs := placeOf(f.Name, first, len(rounds)+1, own)
			if belongs {
				files = append(files, Source{metadata.File{Name: name, SizeBytes: f.SizeBytes, SHA256: f.SHA256, CRC32C: f.CRC32C}, link, f.Name})
			}
		}
		if !own && link.Kind == metadata.KindCheckpoint {
			rounds = append(rounds, metadata.Round{Stats: link.Stats})
		}
		if !own {
			r.SizeBytes += link.SizeBytes
		}
	}
	if len(chain) > 1 {
		r.Parent = ""
		flat := metadata.PreDump{Explanation: "its parents became its rounds when it was exported", MeasuredUS: int64(r.Stats.FreezingUS + r.Stats.FrozenUS)}
		if r.PreDump != nil {
			flat = *r.PreDump
		}
		for i := range rounds {
			rounds[i].Number = i + 1
		}
		flat.Rounds = rounds
		r.PreDump = &flat
	}
	// It is not the kernel's newest chain where it goes.
	r.TrackID, r.Imported = "", nil
	slices.SortFunc(files, func(a, b Source) int { return cmp.Compare(entryOf(a.File.Name), entryOf(b.File.Name)) })
	r.Files = nil
	for _, f := range files {
		r.Files = append(r.Files, f.File)
	}
	if len(chain) > 1 {
		r.Parts = slices.Clone(r.Parts)
		r.SumParts()
	}
	return r, files
}

// placeOf is where a file of a link of the chain goes: rounds behind those before,
// and the final images of a parent, but for what is no image, into a round.
func placeOf(name string, first, last int, own bool) (string, bool) {
	if rest, ok := strings.CutPrefix(name, "pre-dump/"); ok {
		number, file, _ := strings.Cut(rest, "/")
		n := 0
		if _, err := fmt.Sscan(number, &n); err != nil {
			return "", false
		}
		return fmt.Sprintf("pre-dump/%d/%s", first+n, file), true
	}
	if own {
		return name, true
	}
	return fmt.Sprintf("pre-dump/%d/%s", last, name), path.Ext(name) == ".img"
}
