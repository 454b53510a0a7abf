package layer

import (
	"archive/tar"
	"context"
	"errors"
	"fmt"
	"io"
	"path"
	"strings"
)

// Merge copies a tar that WriteTo wrote into one for programs that unpack over the
// image's files and know no whiteouts, such as Podman (Unpack in pkg/archive of
// github.com/containers/storage). It returns the absolute paths of the image's files
// that are to be deleted afterwards. Unix sockets are left out: CRIU makes those that
// a process has open. ErrBadTar is a tar that cannot be read, ErrOtherImage one with
// marks that only overlayfs understands.
func Merge(ctx context.Context, from io.Reader, to io.Writer, kind Kind) (deleted []string, err error) {
	m := &merger{to: tar.NewWriter(to), kind: kind}
	in := tar.NewReader(from)
	for {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		h, err := in.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, fmt.Errorf("%w: %w", ErrBadTar, err)
		}
		if err := m.entry(h, in); err != nil {
			return nil, fmt.Errorf("%q: %w", h.Name, err)
		}
	}
	if err := m.flush(false); err != nil {
		return nil, err
	}
	if err := m.to.Close(); err != nil {
		return nil, err
	}
	return m.deleted, nil
}

type merger struct {
	to      *tar.Writer
	kind    Kind
	held    *tar.Header // a directory: the entry behind it may say that it is opaque
	deleted []string
}

func (m *merger) entry(h *tar.Header, content io.Reader) error {
	mark, gone := NoWhiteout, ""
	if m.kind == Overlay {
		mark, gone = WhiteoutOf(h)
	}
	if err := m.flush(mark == Opaque); err != nil {
		return err
	}
	name := path.Join("/", h.Name) //nolint:gosec // nothing is extracted here
	switch {
	case mark == Opaque, h.PAXRecords[typeRecord] == typeSocket:
		return nil
	case mark == Deleted:
		m.deleted = append(m.deleted, path.Join(path.Dir(name), gone))
		return nil
	}
	h, err := merged(h)
	if err != nil {
		return err
	}
	if h.Typeflag == tar.TypeSymlink && leadsAbove(path.Dir(name), h.Linkname) {
		h.Linkname = path.Join(path.Dir(name), h.Linkname) //nolint:gosec // it stays below the root, and Podman refuses it otherwise
	}
	if h.Typeflag == tar.TypeDir {
		if name == "/" {
			h.Name = name // Podman leaves the directory that it unpacks into as it is if it is called .
		}
		m.held = h
		return nil
	}
	if err := m.to.WriteHeader(h); err != nil {
		return err
	}
	if _, err := io.Copy(m.to, content); err != nil {
		return fmt.Errorf("%w: %w", ErrBadTar, err)
	}
	return nil
}

// flush writes the directory that is held. A file of the same name before it makes
// whoever unpacks it remove all that the image has there.
func (m *merger) flush(opaque bool) error {
	h := m.held
	m.held = nil
	if h == nil {
		return nil
	}
	if opaque {
		if err := m.to.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: strings.TrimSuffix(h.Name, "/"), ModTime: h.ModTime}); err != nil {
			return err
		}
	}
	return m.to.WriteHeader(h)
}

// merged is a header with what any program understands.
func merged(h *tar.Header) (*tar.Header, error) {
	out := &tar.Header{
		Typeflag: h.Typeflag, Name: h.Name, Linkname: h.Linkname, Size: h.Size, Mode: h.Mode, Uid: h.Uid, Gid: h.Gid,
		ModTime: h.ModTime, AccessTime: h.AccessTime, Devmajor: h.Devmajor, Devminor: h.Devminor,
		PAXRecords: map[string]string{}, Format: tar.FormatPAX,
	}
	for key, value := range h.PAXRecords {
		name, ok := strings.CutPrefix(key, xattrRecord)
		switch {
		case !ok, strings.HasPrefix(name, overlayXattrs) && name != redirectXattr && name != metacopyXattr:
		case name == redirectXattr, name == metacopyXattr:
			return nil, ErrOtherImage
		default:
			out.PAXRecords[key] = value
		}
	}
	return out, nil
}

// leadsAbove says whether a link leads above the root, where the kernel stays at it.
func leadsAbove(dir, link string) bool {
	if path.IsAbs(link) {
		return false
	}
	depth := strings.Count(strings.TrimSuffix(dir, "/"), "/")
	for _, part := range strings.Split(link, "/") {
		switch part {
		case "", ".":
		case "..":
			if depth--; depth < 0 {
				return true
			}
		default:
			depth++
		}
	}
	return false
}
