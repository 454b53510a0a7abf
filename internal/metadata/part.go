package metadata

import (
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strings"
	"syscall"
)

// Names of parts; that of a volume is PartVolume with its name behind it.
const (
	PartCRIU   = "criu"   // the images, with the memory
	PartRootFS = "rootfs" // the container's writable layer
	PartShm    = "devshm" // what Docker mounts at /dev/shm for --ipc=shareable
	PartVolume = "volume:"
)

// Part is one of what a checkpoint holds. Records of schema 1 have none: all they
// hold is PartCRIU.
type Part struct {
	Name string `json:"name"`
	// File is the tar of the part, below the checkpoint's directory, as it is called
	// before encryption. It is empty for PartCRIU, which is all other files.
	File      string `json:"file,omitempty"`
	SizeBytes int64  `json:"size_bytes"`        // of File, holes included; of all files for PartCRIU
	Entries   int    `json:"entries,omitempty"` // files, directories and marks in File
	// Destination is where the container has it mounted; / for PartRootFS.
	Destination string `json:"destination,omitempty"`
	Volume      string `json:"volume,omitempty"` // its name
	Driver      string `json:"driver,omitempty"` // of the volume, or of the images' storage
	// UID, GID and Mode (as in 0755, with setuid and the like) are of the topmost
	// directory.
	UID  uint32 `json:"uid,omitempty"`
	GID  uint32 `json:"gid,omitempty"`
	Mode string `json:"mode,omitempty"`
}

// Bind is a bind mount of the container. Its files are never taken.
type Bind struct {
	Destination string `json:"destination"`
	Source      string `json:"source"` // on the host
	Type        string `json:"type"`   // directory, file, socket, or other
	UID         uint32 `json:"uid"`
	GID         uint32 `json:"gid"`
	Mode        string `json:"mode"` // as in 0755
}

// Part returns the part of a name, and whether there is one.
func (r Record) Part(name string) (Part, bool) {
	for _, p := range r.Parts {
		if p.Name == name {
			return p, true
		}
	}
	return Part{}, false
}

// SumParts sets the size of PartCRIU, which is of all files that are no other
// part's.
func (r *Record) SumParts() {
	sum, of := int64(0), map[string]bool{}
	for _, p := range r.Parts {
		of[p.File], of[p.File+sealedSuffix] = true, true
	}
	for _, f := range r.Files {
		if !of[f.Name] {
			sum += f.SizeBytes
		}
	}
	for i := range r.Parts {
		if r.Parts[i].Name == PartCRIU {
			r.Parts[i].SizeBytes = sum
		}
	}
}

// Sealed makes it the record of files that were encrypted to these recipients, with the
// key file beside them.
func (r *Record) Sealed(dir, keyFile string, recipients []string) error {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return err
	}
	defer root.Close()
	key := File{Name: keyFile}
	if err := key.read(root, newMeter(nil, nil)); err != nil {
		return err
	}
	r.Files = append(r.Files, key)
	slices.SortFunc(r.Files, func(a, b File) int { return strings.Compare(a.Name, b.Name) })
	r.Encrypted, r.Recipients = true, recipients
	r.SumParts()
	return nil
}

// Owner returns the owner of a file, and its mode as records have it.
func Owner(info fs.FileInfo) (uid, gid uint32, mode string) {
	st, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return 0, 0, ""
	}
	return st.Uid, st.Gid, fmt.Sprintf("%04o", st.Mode&0o7777)
}

// checkParts refuses parts whose tars are not among the files of the record.
func (r Record) checkParts() error {
	files, seen := map[string]bool{}, map[string]bool{}
	for _, f := range r.Files {
		files[f.Name] = true
	}
	for _, p := range r.Parts {
		file := p.File
		if r.Encrypted {
			file += sealedSuffix
		}
		if seen[p.Name] || (p.Name == PartCRIU) != (p.File == "") || p.File != "" && (seen[p.File] || !files[file]) {
			return fmt.Errorf("parts: bad name %q or file %q", p.Name, p.File)
		}
		seen[p.Name], seen[p.File] = true, true
	}
	return nil
}

// sealedSuffix ends the names of encrypted files, see internal/seal.
const sealedSuffix = ".age"

// knownSchema says whether this program reads records of that version.
func knownSchema(version int) bool { return version >= 1 && version <= SchemaVersion }
