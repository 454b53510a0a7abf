package criu

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// The moment lies behind what was seen, by the clock that files are stamped with.
func TestFreezeMoment(t *testing.T) {
	for range 20 {
		seen := fineClock()
		got := freezeMoment(seen)
		if late := fineClock(); !got.After(seen) || got.After(late) || got.Sub(seen) > time.Second {
			t.Fatalf("seen %v, moment %v, then %v", seen, got, late)
		}
	}
	if early := time.Unix(1, 0); !freezeMoment(early).After(early.Add(time.Hour)) {
		t.Error("waits, or answers with the past")
	}
}

// A file's ctime tells whether it was changed before the freeze or after it,
// also when each stamp is looked at, for which the kernel takes its fine clock.
func TestFreezeMomentPartsChanges(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	ctime := func() time.Time {
		t.Helper()
		var st unix.Stat_t
		if err := os.WriteFile(file, []byte("x"), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := unix.Lstat(file, &st); err != nil {
			t.Fatal(err)
		}
		return time.Unix(st.Ctim.Unix())
	}
	for range 100 {
		ctime()
		before := ctime()
		moment := freezeMoment(fineClock())
		if after := ctime(); !before.Before(moment) || after.Before(moment) {
			t.Fatalf("before %v, moment %v, after %v", before, moment, after)
		}
	}
}
