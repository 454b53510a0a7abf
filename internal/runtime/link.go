package runtime

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// preferred is the directory that is there for what an administrator adds.
const preferred = "/usr/local/sbin"

// Place returns where a symbolic link to the stand-in is found before runc, and
// the runc that it stands in for. ErrUnfit if there is no such place.
func (c Containerd) Place(standIn string) (link, runc string, err error) {
	self, err := os.Stat(standIn)
	if err != nil {
		return "", "", unfit("%s is not installed", standIn)
	}
	var places, why []string
	for _, dir := range c.Path {
		if !filepath.IsAbs(dir) {
			continue // Go takes no program from there
		}
		path := filepath.Join(dir, "runc")
		info, err := os.Stat(path)
		if err == nil && info.Mode().IsRegular() && info.Mode()&0o111 != 0 && !os.SameFile(info, self) {
			if leadsTo(path, filepath.Base(standIn)) {
				why = append(why, path+" is there for a restore by another checkpointctl just now")
				continue
			}
			runc = path
			break
		}
		if problem := unsafe(dir); problem != "" {
			why = append(why, dir+" "+problem)
		} else if isFree(path, self) {
			places = append(places, path)
		} else {
			why = append(why, path+" is in the way")
		}
	}
	switch {
	case runc == "":
		return "", "", unfit("containerd (pid %d) finds no runc on its PATH %s", c.PID, strings.Join(c.Path, ":"))
	case len(places) == 0 && len(why) == 0:
		return "", runc, unfit("%s is in the first directory of containerd's PATH", runc)
	case len(places) == 0:
		return "", runc, unfit("no directory before %s on containerd's PATH can have a link: %s", runc, strings.Join(why, ", "))
	}
	if want := filepath.Join(preferred, "runc"); slices.Contains(places, want) {
		return want, runc, nil
	}
	return places[0], runc, nil
}

// leadsTo says whether a path is a link to a program of a name.
func leadsTo(path, name string) bool {
	target, err := filepath.EvalSymlinks(path)
	return err == nil && target != path && filepath.Base(target) == name
}

// unsafe says why a directory is no place for a program that root runs.
func unsafe(dir string) string {
	info, err := os.Stat(dir)
	if err != nil || !info.IsDir() {
		return "is not there"
	}
	stat, ok := info.Sys().(*syscall.Stat_t)
	if !ok || stat.Uid != 0 || info.Mode()&0o022 != 0 {
		return "can be written by others than root"
	}
	if unix.Access(dir, unix.W_OK) != nil {
		return "is read-only"
	}
	return ""
}

// isFree says whether nothing has the name, or a link to the stand-in that is
// there already.
func isFree(path string, standIn os.FileInfo) bool {
	link, err := os.Lstat(path)
	if errors.Is(err, os.ErrNotExist) {
		return true
	}
	info, err := os.Stat(path)
	return link.Mode()&os.ModeSymlink != 0 && err == nil && os.SameFile(info, standIn)
}
