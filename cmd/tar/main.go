// Command tar stands in for tar while CRIU dumps. For every tmpfs of a
// container, most of which are empty, CRIU runs `tar --create --gzip` with the
// tasks frozen: two programs to load and link, where a few hundred bytes are
// wanted (criu/filesystems.c, tmpfs_dump). This one writes the same archive of a
// directory that holds nothing but directories, links and devices, and lets the
// real tar do all the rest.
package main

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

func main() {
	var archive bytes.Buffer
	dir, ok := asked(os.Args[1:])
	if !ok || pack(&archive, dir) != nil {
		fmt.Fprintln(os.Stderr, "tar:", becomeReal())
		os.Exit(2)
	}
	if _, err := archive.WriteTo(os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "tar:", err)
		os.Exit(2)
	}
}

// asked returns the directory to pack if the arguments are those of CRIU 3.17
// to 4.2: tar --create --gzip OPTIONS --directory DIR .
func asked(args []string) (dir string, ok bool) {
	n := len(args)
	if n < 5 || args[0] != "--create" || args[1] != "--gzip" || args[n-3] != "--directory" || args[n-1] != "." {
		return "", false
	}
	known := []string{"--no-unquote", "--no-wildcards", "--one-file-system", "--check-links", "--preserve-permissions", "--sparse", "--numeric-owner"}
	for _, a := range args[2 : n-3] {
		if !slices.Contains(known, a) {
			return "", false
		}
	}
	return args[n-2], true
}

// becomeReal becomes the next tar on the PATH; it returns only what went wrong.
func becomeReal() error {
	self, err := os.Stat("/proc/self/exe")
	if err != nil {
		return err
	}
	for _, dir := range filepath.SplitList(os.Getenv("PATH")) {
		path := filepath.Join(dir, "tar")
		if info, err := os.Stat(path); err == nil && !os.SameFile(info, self) {
			return syscall.Exec(path, os.Args, os.Environ())
		}
	}
	return exec.ErrNotFound
}

// errOther is a file whose kind, or whose second name, is for the real tar.
var errOther = errors.New("not a directory, link or device")

func pack(w io.Writer, dir string) error {
	var device uint64
	z, err := gzip.NewWriterLevel(w, gzip.NoCompression) // it starts faster
	if err != nil {
		return err
	}
	t := tar.NewWriter(z)
	err = filepath.WalkDir(dir+"/", func(path string, e fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		var st unix.Stat_t
		if err := unix.Lstat(path, &st); err != nil {
			return err
		}
		if device == 0 {
			device = st.Dev
		}
		if st.Dev != device { // --one-file-system
			return errOther
		}
		h, err := header(path, &st)
		if err != nil {
			return err
		}
		h.Name = "./" + strings.TrimPrefix(path, dir+"/")
		if e.IsDir() && !strings.HasSuffix(h.Name, "/") {
			h.Name += "/"
		}
		return t.WriteHeader(h)
	})
	return errors.Join(err, t.Close(), z.Close())
}

func header(path string, st *unix.Stat_t) (*tar.Header, error) {
	h := &tar.Header{
		Format: tar.FormatGNU, Mode: int64(st.Mode & 0o7777), Uid: int(st.Uid), Gid: int(st.Gid), ModTime: time.Unix(st.Mtim.Unix()),
	}
	switch st.Mode & unix.S_IFMT {
	case unix.S_IFDIR:
		h.Typeflag = tar.TypeDir
		return h, nil
	case unix.S_IFCHR:
		h.Typeflag = tar.TypeChar
	case unix.S_IFBLK:
		h.Typeflag = tar.TypeBlock
	case unix.S_IFLNK:
		h.Typeflag = tar.TypeSymlink
	default:
		return nil, errOther
	}
	if st.Nlink > 1 {
		return nil, errOther
	}
	var err error
	if h.Typeflag == tar.TypeSymlink {
		h.Linkname, err = os.Readlink(path)
	} else {
		h.Devmajor, h.Devminor = int64(unix.Major(st.Rdev)), int64(unix.Minor(st.Rdev))
	}
	return h, err
}
