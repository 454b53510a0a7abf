package docker

import (
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/moby/sys/mountinfo"
)

// upperDir is the writable layer of a running container by its mount table:
// with containerd's image store Docker does not tell it. It is empty if the root
// filesystem is no overlay.
func upperDir(pid int) string {
	f, err := os.Open(filepath.Join("/proc", strconv.Itoa(pid), "mountinfo"))
	if err != nil {
		return ""
	}
	defer f.Close()
	return parseUpperDir(f)
}

func parseUpperDir(table io.Reader) string {
	list, err := mountinfo.GetMountsFromReader(table, mountinfo.SingleEntryFilter("/"))
	if err != nil || len(list) == 0 || list[0].FSType != "overlay" {
		return ""
	}
	for _, option := range strings.Split(list[0].VFSOptions, ",") {
		if dir, ok := strings.CutPrefix(option, "upperdir="); ok && filepath.IsAbs(dir) {
			return dir
		}
	}
	return ""
}
