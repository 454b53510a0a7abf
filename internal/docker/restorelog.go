package docker

import (
	"bytes"
	"io"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"

	"github.com/checkpointctl/checkpointctl/internal/runtime"
)

// followLog reads restore.log from when it appears, since containerd removes it
// with its directory when the restore fails, and shows each line to see. The
// function returned ends that and returns the log; nil when there was none.
func followLog(dirs []string, see func(line string)) func() []byte {
	stop, done := make(chan struct{}), make(chan []byte)
	go func() {
		var (
			f    *os.File
			log  []byte
			seen int
		)
		for ended := false; ; {
			if f == nil {
				f = openLog(dirs)
			}
			if f != nil {
				more, _ := io.ReadAll(io.LimitReader(f, int64(maxLog-len(log))))
				log = append(log, more...)
			}
			for {
				line, _, whole := bytes.Cut(log[seen:], []byte("\n"))
				if !whole {
					break
				}
				see(string(line))
				seen += len(line) + 1
			}
			if ended {
				_ = f.Close() // of nil, too
				done <- log
				return
			}
			select {
			case <-stop:
				ended = true
			case <-time.After(2 * time.Millisecond):
			}
		}
	}()
	return func() []byte {
		close(stop)
		return <-done
	}
}

// maxLog is more than CRIU writes of any restore.
const maxLog = 64 << 20

func openLog(dirs []string) *os.File {
	for _, dir := range dirs {
		// The directory is one that a record names: it may hold anything.
		f, err := os.OpenFile(filepath.Join(dir, "work", RestoreLog), os.O_RDONLY|unix.O_NONBLOCK|unix.O_NOFOLLOW, 0)
		if err == nil {
			return f
		}
	}
	return nil
}

// logDirs are the bundles that the container may be restored in.
func logDirs(req RestoreRequest) []string {
	var dirs []string
	if req.Bundle != "" {
		dirs = append(dirs, filepath.Join(filepath.Dir(req.Bundle), req.ContainerID))
	}
	return append(dirs, runtime.Bundles(req.ContainerID)...)
}
