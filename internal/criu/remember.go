package criu

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"time"

	"golang.org/x/sys/unix"
)

// memoryAge is how long an answer of CRIU's is taken for granted: a wrapper may
// stay the same when the program that it runs has changed.
const memoryAge = 24 * time.Hour

// memory is what CRIU answered, in the file Dumper.Memory.
type memory struct {
	Binary  string  `json:"binary"` // see identity
	Version Version `json:"version"`
}

// identity says which file a program is, and on which kernel: another file, or
// a changed one, has another identity. Empty if there is no such program.
func identity(program string) string {
	path, err := exec.LookPath(program)
	if err != nil {
		return ""
	}
	var st unix.Stat_t
	var host unix.Utsname
	if unix.Stat(path, &st) != nil || unix.Uname(&host) != nil {
		return ""
	}
	return fmt.Sprintf("%s %d:%d %d %d.%09d %s", path, st.Dev, st.Ino, st.Size, st.Ctim.Sec, st.Ctim.Nsec, unix.ByteSliceToString(host.Release[:]))
}

// recall returns the version that a binary answered before, or 0. Only a
// version that is taken was remembered.
func (d *Dumper) recall(binary string) Version {
	info, err := os.Lstat(d.Memory)
	if err != nil || !info.Mode().IsRegular() || binary == "" {
		return 0
	}
	if age := time.Since(info.ModTime()); age < 0 || age > memoryAge {
		return 0
	}
	var m memory
	if data, err := os.ReadFile(d.Memory); err != nil || json.Unmarshal(data, &m) != nil || m.Binary != binary {
		return 0
	}
	return m.Version
}

// remember keeps an answer, if its directory is there. A file that is cut short
// is no answer: CRIU is asked again.
func (d *Dumper) remember(binary string, v Version) {
	if d.Memory == "" || binary == "" {
		return
	}
	if data, err := json.Marshal(memory{binary, v}); err == nil {
		_ = os.WriteFile(d.Memory, data, 0o600)
	}
}
