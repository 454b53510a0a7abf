package docker

import (
	"strings"
	"testing"
)

// The user's configuration comes back as it was, but for a last line break.
func FuzzRuncConf(f *testing.F) {
	f.Add("log-level 4\n", "tcp-established")
	f.Add("", "external mnt[/a b]:/c")
	f.Fuzz(func(t *testing.T, users, line string) {
		if strings.Contains(users, confBegin) || strings.Contains(line, confEnd) {
			return
		}
		got := stripBlock(joinLines(users, confBegin+line+"\n"+confEnd))
		if got != users && got != users+"\n" {
			t.Errorf("%q became %q", users, got)
		}
	})
}
