package criuimg

import (
	"io/fs"
	"time"

	"github.com/checkpoint-restore/go-criu/v7/crit/images/stats"
	"google.golang.org/protobuf/proto"
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

// StatsFile is CRIU's name for the figures of a dump, in the image directory.
const StatsFile = "stats-dump"

// ReadStats returns CRIU's figures of a dump, or zeros when there are
// none to read: the images are whole without them, and may be all that is left
// of the container.
func ReadStats(images fs.FS) Stats {
	var d *stats.DumpStatsEntry
	err := Decode(images, StatsFile, func(m proto.Message) error {
		if e, ok := m.(*stats.StatsEntry); ok {
			d = e.GetDump()
		}
		return nil
	})
	if err != nil {
		return Stats{}
	}
	return Stats{
		FreezingUS: uint64(d.GetFreezingTime()), FrozenUS: uint64(d.GetFrozenTime()),
		MemDumpUS: uint64(d.GetMemdumpTime()), MemWriteUS: uint64(d.GetMemwriteTime()),
		PagesScanned: d.GetPagesScanned(), PagesSkipped: d.GetPagesSkippedParent(), PagesWritten: d.GetPagesWritten(),
	}
}
