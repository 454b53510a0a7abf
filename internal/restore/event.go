package restore

import (
	"bytes"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/checkpointctl/checkpointctl/internal/criuimg"
	"github.com/checkpointctl/checkpointctl/internal/docker"
	"github.com/checkpointctl/checkpointctl/internal/linux"
	"github.com/checkpointctl/checkpointctl/internal/metadata"
)

// What a restore under way comes to.
const (
	StateVerifying = "verifying" // the checkpoint, or one that it continues, is read
	StateVerified  = "verified"  // the checkpoint is intact
	StateRestoring = "restoring" // Docker is to start the container
)

// Event is a state that the restore of a checkpoint has come to.
type Event struct {
	Container, Checkpoint, State string
	Memory                       Memory // of StateRestoring
}

// Memory is that of a container that is being restored.
type Memory struct {
	Bytes int64        // in the images, about; 0 if that cannot be told
	Back  func() int64 // how much of it the container has by now; nil if that cannot be told
}

// happened tells of an event, if somebody listens.
func (r *Restorer) happened(rec metadata.Record, state string, m Memory) {
	if r.Happened != nil {
		r.Happened(Event{Container: rec.Name, Checkpoint: rec.Checkpoint, State: state, Memory: m})
	}
}

// memory is what comes back to a container: its cgroup tells, which is called as that of
// the checkpoint's was, but for the ID. Of a checkpoint of another host, and with lazy
// pages, nothing is known.
func memory(c docker.Container, from source, lazy bool) (m Memory) {
	if from.Imported != nil || lazy {
		return m
	}
	cgroups := linux.Cgroups{Mode: from.CgroupMode}
	for _, g := range from.Cgroups {
		cgroups.List = append(cgroups.List, linux.Cgroup{Controllers: g.Controllers, Path: strings.ReplaceAll(g.Path, from.ID, c.ID)})
	}
	file, err := cgroups.MemoryFile(c.ID)
	if err != nil || !strings.Contains(file, c.ID) {
		return m
	}
	for _, images := range from.ImageDirs() {
		m.Bytes += criuimg.PagesSize(filepath.Join(from.dir, images))
	}
	m.Back = func() int64 {
		data, _ := os.ReadFile(file)
		n, _ := strconv.ParseInt(string(bytes.TrimSpace(data)), 10, 64)
		return n
	}
	return m
}
