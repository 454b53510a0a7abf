package checkpoint

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"

	"golang.org/x/sys/unix"

	"github.com/checkpointctl/checkpointctl/internal/docker"
	"github.com/checkpointctl/checkpointctl/internal/mounts"
)

// emptyTmpfs returns the directories of those tmpfs in which there is nothing and will
// be nothing, since they are read-only: runc mounts them over what Docker masks.
func emptyTmpfs(c docker.Container, plan mounts.Plan) map[string]fs.FileInfo {
	empty := map[string]fs.FileInfo{}
	for _, path := range plan.ReadOnlyTmpfs() {
		f, err := os.OpenFile(filepath.Join("/proc", strconv.Itoa(c.PID), "root", path), os.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW, 0)
		if err != nil {
			continue // then it is CRIU's to say what is wrong
		}
		if _, err := f.Readdirnames(1); errors.Is(err, io.EOF) {
			if info, err := f.Stat(); err == nil {
				empty[path] = info
			}
		}
		_ = f.Close()
	}
	return empty
}
