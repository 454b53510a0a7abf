package criu

import (
	"encoding/binary"
	"os"
	"path/filepath"
	"time"

	"github.com/checkpoint-restore/go-criu/v7/stats"
)

// Stats are CRIU's own figures, from stats-dump.
type Stats struct {
	FreezingUS   uint64
	FrozenUS     uint64
	MemDumpUS    uint64
	MemWriteUS   uint64
	PagesScanned uint64
	PagesSkipped uint64
	PagesWritten uint64
}

// Downtime is how long the tasks stood still.
func (s Stats) Downtime() time.Duration {
	return time.Duration(s.FreezingUS+s.FrozenUS) * time.Microsecond
}

// Fixed is the part of the downtime that does not depend on memory: freezing,
// parasite code, descriptors, mounts. CRIU's time to dump memory is part of
// the downtime, in a final dump also its time to write.
func (s Stats) Fixed() time.Duration {
	return max(0, s.Downtime()-time.Duration(s.MemDumpUS)*time.Microsecond)
}

// readStats returns zeros when there are no figures to read: the images are
// whole without them, and may be all that is left of the container.
func readStats(dir string) Stats {
	f, err := os.Open(dir)
	if err != nil {
		return Stats{}
	}
	defer f.Close()
	if !wholeStats(filepath.Join(dir, stats.StatsDump)) {
		return Stats{}
	}
	s, err := stats.CriuGetDumpStats(f)
	if err != nil {
		return Stats{}
	}
	return Stats{
		FreezingUS: uint64(s.GetFreezingTime()), FrozenUS: uint64(s.GetFrozenTime()),
		MemDumpUS: uint64(s.GetMemdumpTime()), MemWriteUS: uint64(s.GetMemwriteTime()),
		PagesScanned: s.GetPagesScanned(), PagesSkipped: s.GetPagesSkippedParent(), PagesWritten: s.GetPagesWritten(),
	}
}

// wholeStats says whether the file holds the two magics, a size, and as many
// bytes: go-criu (v7.2.0) panics on a shorter one.
func wholeStats(path string) bool {
	data, err := os.ReadFile(path)
	return err == nil && len(data) >= stats.PayloadOffset &&
		uint64(len(data)) >= stats.PayloadOffset+uint64(binary.LittleEndian.Uint32(data[stats.SizeOffset:]))
}
