package layer

import (
	"archive/tar"
	"path"
	"strings"
)

// Whiteout is what an entry of a layer's tar says of the image below, if it is no file
// (OCI image specification, layers).
type Whiteout int

// Whiteouts.
const (
	NoWhiteout Whiteout = iota // it is a file
	Deleted                    // a file beside it is deleted
	Opaque                     // nothing is left of the directory that it is in
)

// WhiteoutOf returns what an entry of a layer says, and the name, without its directory,
// of what is deleted.
func WhiteoutOf(h *tar.Header) (Whiteout, string) {
	base := path.Base(path.Clean(h.Name))
	name, ok := strings.CutPrefix(base, whiteoutPrefix)
	switch {
	case !ok || h.PAXRecords[literalRecord] != "":
		return NoWhiteout, ""
	case base == opaqueName:
		return Opaque, ""
	}
	return Deleted, name
}
