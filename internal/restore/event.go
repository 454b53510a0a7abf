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
	StateVerifying = "verifying"       // the checkpoint, or one that it continues, is read
	StateVerified  = "verified"        // the checkpoint is intact
	StateFiles     = "restoring files" // of the writable layer and of volumes
	StateRestoring = "restoring"       // Docker is to start the container
)

// Event is a state that the restore of a checkpoint has come to.
type Event struct {
	Container, Checkpoint, State string
	Progress                     Progress // of StateFiles and StateRestoring
}

// Progress is how far a state is.
type Progress struct {
	Bytes int64        // there are, about; 0 if that cannot be told
	Done  func() int64 // how many of them are done by now; nil if that cannot be told
}

// happened tells of an event, if somebody listens.
func (r *Restorer) happened(rec metadata.Record, state string, p Progress) {
	if r.Happened != nil {
		r.Happened(Event{Container: rec.Name, Checkpoint: rec.Checkpoint, State: state, Progress: p})
	}
}

// memory is what comes back to a container: its cgroup tells. With lazy pages nothing is
// known.
func memory(c docker.Container, from source, driver string, lazy bool) (p Progress) {
	if lazy {
		return p
	}
	file, err := cgroups(c, from, driver).MemoryFile(c.ID)
	if err != nil || !strings.Contains(file, c.ID) {
		return p
	}
	if _, err := os.Stat(filepath.Dir(filepath.Dir(file))); err != nil {
		return p // Docker was told to put containers elsewhere
	}
	for _, images := range from.ImageDirs() {
		p.Bytes += criuimg.PagesSize(filepath.Join(from.dir, images))
	}
	p.Done = func() int64 {
		data, _ := os.ReadFile(file)
		n, _ := strconv.ParseInt(string(bytes.TrimSpace(data)), 10, 64)
		return n
	}
	return p
}

// cgroups are those that a container will get: named like the checkpoint's, but for the
// ID. Another host may have named them otherwise: then they are named as Docker does if
// no parent is given, by its cgroup driver.
func cgroups(c docker.Container, from source, driver string) linux.Cgroups {
	if from.Imported != nil {
		path := "/docker/" + c.ID
		if driver == "systemd" {
			path = "/system.slice/docker-" + c.ID + ".scope"
		}
		return linux.Cgroups{Mode: linux.ThisHost().CgroupMode, List: []linux.Cgroup{{Controllers: "memory", Path: path}}}
	}
	list := linux.Cgroups{Mode: from.CgroupMode}
	for _, g := range from.Cgroups {
		list.List = append(list.List, linux.Cgroup{Controllers: g.Controllers, Path: strings.ReplaceAll(g.Path, from.ID, c.ID)})
	}
	return list
}
