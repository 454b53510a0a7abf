// Package archive writes a checkpoint into one file that can travel, and reads such
// files, which it does not trust.
//
// It is a tar, compressed and encrypted as a whole if that is asked for. Its first
// entry is the checkpoint's record, which names every file with its size and its
// sums; a signature of the record behind it is one of all that. Names are Podman's
// where the meaning is equal, so that tools that read Podman's checkpoints can show
// this one: docs/design/0006-archives.md.
package archive

import (
	"errors"
	"path"
	"strings"

	"github.com/checkpointctl/checkpointctl/internal/metadata"
)

// Errors that callers tell apart.
var (
	// ErrRefused is an archive that is not taken, for the reason that follows.
	ErrRefused = errors.New("archive is refused")
	// ErrNotExportable is a checkpoint that would be of no use elsewhere.
	ErrNotExportable = errors.New("checkpoint cannot be exported")
)

// Names of entries that are no files of the checkpoint.
const (
	recordEntry    = metadata.RecordFile
	signatureEntry = metadata.RecordFile + ".sig"
	configEntry    = "config.dump"
	specEntry      = "spec.dump"
	networkEntry   = "network.status"
	imageEntry     = "image.tar"
)

const (
	imageDir     = "checkpoint/" // an entry, too: some look for it
	sealedSuffix = ".age"
)

// entryOf is what a file of a checkpoint is called in an archive.
func entryOf(file string) string {
	name, suffix := file, ""
	if plain, ok := strings.CutSuffix(file, sealedSuffix); ok {
		name, suffix = plain, sealedSuffix
	}
	volume, isVolume := strings.CutPrefix(name, "volume-")
	switch {
	case name == "dump.log", name == "stats-dump", name == "rootfs.tar":
		return file
	case name == "devshm.tar":
		return "devshm-checkpoint.tar" + suffix
	case isVolume && strings.HasSuffix(name, ".tar") && !strings.Contains(name, "/"):
		return path.Join("volumes", volume) + suffix
	}
	return imageDir + file
}
