package cli

import (
	"fmt"
	"os"

	"github.com/checkpointctl/checkpointctl/internal/metadata"
	"github.com/checkpointctl/checkpointctl/internal/runtime"
)

// fetch is what list and inspect say of a restore with lazy pages that is not
// over, or did not end well.
type fetch struct {
	Container string        `json:"container"`
	ID        string        `json:"id"`
	State     runtime.State `json:"state"`
	// FetchedBytes is what criu lazy-pages has read so far.
	FetchedBytes int64  `json:"fetched_bytes"`
	TotalBytes   int64  `json:"total_bytes"`
	Error        string `json:"error,omitempty"`
	imageDir     string
}

// fetches asks once for all that a command prints.
func fetches() []fetch {
	var list []fetch
	for _, f := range runtime.Fetches() {
		if state := f.State(); state != runtime.Over {
			list = append(list, fetch{f.Container, f.ID, state, f.FetchedBytes(), f.TotalBytes, f.Error, f.ImageDir})
		}
	}
	return list
}

// String says how far it is.
func (f fetch) String() string {
	switch {
	case f.State == runtime.Fetching:
		return fmt.Sprintf("restoring %d %%", runtime.Percent(f.FetchedBytes, f.TotalBytes))
	case f.Error != "":
		return "restore failed"
	}
	return "restore lost"
}

// explain says it in full.
func (f fetch) explain() string {
	switch {
	case f.State == runtime.Fetching:
		return fmt.Sprintf("%s, %s of %s read by criu lazy-pages", f, size(f.FetchedBytes), size(f.TotalBytes))
	case f.Error != "":
		return "killed, since its memory was not whole: " + f.Error
	}
	return "maybe not whole: criu lazy-pages and what watched it were killed; docker kill it and restore it again"
}

// fetchFrom finds the fetch from a checkpoint's directory.
func fetchFrom(list []fetch, dir string) *fetch {
	for i := range list {
		if sameDir(list[i].imageDir, dir) {
			return &list[i]
		}
	}
	return nil
}

// fetchOf finds the fetch of a container.
func fetchOf(id string) *fetch {
	for _, f := range fetches() {
		if f.ID == id {
			return &f
		}
	}
	return nil
}

// usedBy is for metadata.Store.
func usedBy(dir string) string {
	for _, f := range runtime.Fetches() {
		if f.State() == runtime.Fetching && sameDir(f.ImageDir, dir) {
			return f.Container
		}
	}
	return ""
}

func sameDir(a, b string) bool {
	infoA, errA := os.Stat(a)
	infoB, errB := os.Stat(b)
	return errA == nil && errB == nil && os.SameFile(infoA, infoB)
}

// fetched is a record with the restore that reads it.
type fetched struct {
	metadata.Record
	Fetch *fetch `json:"fetch,omitempty"`
}
