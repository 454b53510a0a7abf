package layer

import (
	"encoding/base64"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// procPath names a file in an open directory for calls that take no descriptor.
// Such a call must not follow a link.
func procPath(dir int, name string) string { return fmt.Sprintf("/proc/self/fd/%d/%s", dir, name) }

// record is the attribute in a tar: a key and a value.
func (x xattr) record() (key, value string) {
	if !strings.Contains(x.name, "=") {
		return xattrRecord + x.name, x.value
	}
	escaped := strings.NewReplacer("%", "%25", "=", "%3D").Replace(x.name)
	return escapedRecord + escaped, base64.RawStdEncoding.EncodeToString([]byte(x.value))
}

// recorded returns the attribute that a record is, false if it is none.
func recorded(key, value string) (xattr, bool, error) {
	if name, ok := strings.CutPrefix(key, xattrRecord); ok {
		return xattr{name, value}, true, nil
	}
	escaped, ok := strings.CutPrefix(key, escapedRecord)
	if !ok {
		return xattr{}, false, nil
	}
	name, err := url.PathUnescape(escaped)
	data, valueErr := base64.RawStdEncoding.DecodeString(value)
	if err = errors.Join(err, valueErr); err != nil {
		return xattr{}, false, fmt.Errorf("%w: extended attribute %.80q: %w", ErrBadTar, escaped, err)
	}
	return xattr{name, string(data)}, true, nil
}

// readXattrs returns all extended attributes of a file, sorted by name, but for
// those that this package sets.
func readXattrs(dir int, name string) ([]xattr, error) {
	file := procPath(dir, name)
	list, err := sized(func(buf []byte) (int, error) { return unix.Llistxattr(file, buf) })
	if err != nil || len(list) == 0 {
		return nil, unsupported(err)
	}
	var out []xattr
	for _, name := range strings.Split(strings.TrimSuffix(string(list), "\x00"), "\x00") {
		if strings.HasPrefix(name, ownXattrs) {
			continue
		}
		value, err := sized(func(buf []byte) (int, error) { return unix.Lgetxattr(file, name, buf) })
		if errors.Is(err, unix.ENODATA) {
			continue // it went away
		}
		if err != nil {
			return nil, fmt.Errorf("extended attribute %s: %w", name, err)
		}
		out = append(out, xattr{name, string(value)})
	}
	slices.SortFunc(out, func(a, b xattr) int { return strings.Compare(a.name, b.name) })
	return out, nil
}

// unsupported makes nothing of the error of a filesystem without attributes.
func unsupported(err error) error {
	if errors.Is(err, unix.ENOTSUP) {
		return nil
	}
	return err
}

// sized calls a function that needs a buffer of a size that can change meanwhile.
func sized(read func([]byte) (int, error)) ([]byte, error) {
	var small [256]byte
	n, err := read(small[:])
	if err == nil {
		return slices.Clone(small[:n]), nil
	}
	for size := 1 << 12; errors.Is(err, unix.ERANGE) && size <= 1<<17; size <<= 1 {
		buf := make([]byte, size)
		if n, err = read(buf); err == nil {
			return buf[:n], nil
		}
	}
	return nil, err
}
