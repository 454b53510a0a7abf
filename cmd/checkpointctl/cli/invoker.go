package cli

import (
	"errors"
	"fmt"
	"os"
	"os/user"
	"strconv"
	"unicode/utf8"

	"github.com/checkpointctl/checkpointctl/internal/metadata"
	"github.com/checkpointctl/checkpointctl/internal/report"
)

// maxComment is how long a comment may be, in bytes: it is shown on one line.
const maxComment = 1024

// checkComment refuses a comment that could not be shown again.
func checkComment(text string) error {
	switch {
	case !utf8.ValidString(text):
		return errors.New("--comment is not UTF-8")
	case len(text) > maxComment:
		return fmt.Errorf("--comment has %d bytes, at most %d are kept", len(text), maxComment)
	}
	return nil
}

// invoker returns who runs this command: under sudo who called that.
func invoker() *metadata.Maker {
	m := &metadata.Maker{UID: os.Getuid()}
	m.Host, _ = os.Hostname()
	if uid, err := strconv.Atoi(os.Getenv("SUDO_UID")); err == nil && os.Geteuid() == 0 {
		m.UID, m.User = uid, os.Getenv("SUDO_USER")
	}
	if m.User == "" {
		if u, err := user.LookupId(strconv.Itoa(m.UID)); err == nil {
			m.User = u.Username
		}
	}
	return m
}

// madeBy says who made a checkpoint, where that is known.
func madeBy(m *metadata.Maker) string {
	if m == nil {
		return dash("")
	}
	return report.Text(fmt.Sprintf("%s (uid %d) on %s", dash(m.User), m.UID, dash(m.Host)))
}

// madeWith says by which programs a checkpoint was made.
func madeWith(v metadata.Versions) string {
	return fmt.Sprintf("checkpointctl %s, CRIU %s, Docker %s, runc %s, Linux %s", v.Checkpointctl, v.CRIU, v.Docker, v.Runc, v.Kernel)
}
