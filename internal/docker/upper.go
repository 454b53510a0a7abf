package docker

import (
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/moby/sys/mountinfo"
)

// layers are the directories of an overlay.
type layers struct {
	upper string
	lower []string
}

// readLayers returns the layers of a running container by its mount table: with
// containerd's image store Docker does not tell them. There are none if the root
// filesystem is no overlay.
func readLayers(pid int) layers {
	f, err := os.Open(filepath.Join("/proc", strconv.Itoa(pid), "mountinfo"))
	if err != nil {
		return layers{}
	}
	defer f.Close()
	return parseLayers(f)
}

func parseLayers(table io.Reader) (l layers) {
	list, err := mountinfo.GetMountsFromReader(table, mountinfo.SingleEntryFilter("/"))
	if err != nil || len(list) == 0 || list[0].FSType != "overlay" {
		return l
	}
	for _, option := range strings.Split(list[0].VFSOptions, ",") {
		if dir, ok := strings.CutPrefix(option, "upperdir="); ok && filepath.IsAbs(dir) {
			l.upper = dir
		}
		for _, dir := range strings.Split(strings.TrimPrefix(option, "lowerdir="), ":") {
			if strings.HasPrefix(option, "lowerdir=") && filepath.IsAbs(dir) {
				l.lower = append(l.lower, dir)
			}
		}
	}
	return l
}
