//go:build e2e

package e2e

import (
	"bytes"
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

// counting prints 1, 2, 3, ... ten times a second.
const counting = `i=0; while :; do i=$((i+1)); echo $i; sleep 0.1; done`

// box is one container with a store of its own.
type box struct {
	t           *testing.T
	name, store string
}

var serial atomic.Int64

// start runs a container; args come after the docker run options used here.
func start(t *testing.T, args ...string) *box {
	t.Helper()
	b := &box{t: t, name: prefix + strconv.FormatInt(serial.Add(1), 10), store: t.TempDir()}
	t.Cleanup(b.remove)
	docker(t, append([]string{"run", "-d", "--name", b.name}, args...)...)
	return b
}

// result is one run of checkpointctl.
type result struct {
	code           int
	stdout, stderr string
}

func ctl(t *testing.T, args ...string) result {
	t.Helper()
	return execute(t, exec.Command(binary, args...))
}

func execute(t *testing.T, cmd *exec.Cmd) result {
	t.Helper()
	var out, errOut bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errOut
	err := cmd.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	return result{cmd.ProcessState.ExitCode(), out.String(), errOut.String()}
}

// ctl runs checkpointctl on the box's store.
func (b *box) ctl(args ...string) result {
	b.t.Helper()
	return ctl(b.t, append([]string{"--dir", b.store}, args...)...)
}

func (b *box) must(want int, args ...string) result {
	b.t.Helper()
	r := b.ctl(args...)
	if r.code != want {
		b.t.Fatalf("checkpointctl %s: exit %d, want %d\nstdout: %s\nstderr: %s", strings.Join(args, " "), r.code, want, r.stdout, r.stderr)
	}
	return r
}

func (b *box) checkpoint(args ...string) string {
	b.t.Helper()
	r := b.must(0, append([]string{"checkpoint", b.name}, args...)...)
	container, checkpoint, ok := strings.Cut(strings.TrimSpace(r.stdout), "/")
	if !ok || container != b.name {
		b.t.Fatalf("stdout %q", r.stdout)
	}
	return checkpoint
}

func (b *box) restore(args ...string) {
	b.t.Helper()
	r := b.must(0, append([]string{"restore", b.name}, args...)...)
	if !strings.HasPrefix(r.stdout, b.name+"/") {
		b.t.Fatalf("stdout %q", r.stdout)
	}
	if state := b.state(); state != "running" {
		b.t.Fatalf("restored, but %s: %s", state, b.logs("5"))
	}
}

func (b *box) state() string {
	b.t.Helper()
	return b.inspect().State.Status
}

func (b *box) pid() string {
	b.t.Helper()
	return strconv.Itoa(b.inspect().State.Pid)
}

// count is the newest number that the container printed.
func (b *box) count() int {
	b.t.Helper()
	n, err := strconv.Atoi(b.logs("1"))
	if err != nil {
		return 0
	}
	return n
}

// until asks again and again whether it is so, and gives up after some seconds.
// Where all is slow, asking too often would take the time that others need.
func until(limit time.Duration, so func() bool) bool {
	for end := time.Now().Add(limit * time.Duration(slow)); time.Now().Before(end); {
		if so() {
			return true
		}
		time.Sleep(time.Duration(min(slow, 4)) * 50 * time.Millisecond)
	}
	return false
}

// await waits until the container has counted past n and returns the count.
func (b *box) await(n int) (got int) {
	b.t.Helper()
	if !until(30*time.Second, func() bool { got = b.count(); return got > n }) {
		b.t.Fatalf("%s does not count past %d: %s", b.name, n, b.logs("5"))
	}
	return got
}

// goesOn fails unless the restored container counts on from its checkpoint.
// at, its count then, must be above 5: a fresh start would print less.
func (b *box) goesOn(at int) {
	b.t.Helper()
	// The newest line may still be the stopped one's: wait for two new ones.
	lines := strings.Count(b.logs("all"), "\n")
	var out []string
	if !until(30*time.Second, func() bool {
		out = strings.Split(strings.ReplaceAll(b.logs("all"), "\r", ""), "\n")
		return len(out) > lines+3
	}) {
		b.t.Fatalf("%s does not go on from %d", b.name, at)
	}
	if last, err := strconv.Atoi(out[len(out)-1]); err != nil || last <= at || last > at+200 {
		b.t.Fatalf("counts %q after a restore of %d", out[len(out)-1], at)
	}
}

// record is the part of container.json that the suite looks at.
type record struct {
	SchemaVersion int    `json:"schema_version"`
	ID            string `json:"id"`
	Name          string `json:"name"`
	Checkpoint    string `json:"checkpoint"`
	SizeBytes     int64  `json:"size_bytes"`
	Stats         struct {
		FrozenUS     int64 `json:"frozen_us"`
		PagesWritten int64 `json:"pages_written"`
	} `json:"stats"`
	Files []struct {
		Name string `json:"name"`
	} `json:"files"`
}

func (b *box) list() []record {
	b.t.Helper()
	var list []record
	out := b.must(0, "list", "--json").stdout
	if err := json.Unmarshal([]byte(out), &list); err != nil {
		b.t.Fatalf("%v: %s", err, out)
	}
	return list
}

// untouched runs f and fails unless the container is the same process after
// it, still counts, and the store holds nothing but logs of failures.
func (b *box) untouched(f func()) {
	b.t.Helper()
	pid, at := b.pid(), b.count()
	f()
	if now := b.pid(); now != pid {
		b.t.Errorf("pid was %s, is %s", pid, now)
	}
	b.await(at)
	_ = filepath.Walk(b.store, func(path string, info os.FileInfo, err error) error {
		if err == nil && !info.IsDir() && info.Name() != ".lock" && path != filepath.Join(b.store, ".criu") && !strings.Contains(path, "/.failed-") {
			b.t.Errorf("left over: %s", path)
		}
		return err
	})
}

// private fails when anybody but root could read the store.
func (b *box) private() {
	b.t.Helper()
	err := filepath.Walk(filepath.Join(b.store, b.name), func(path string, info os.FileInfo, err error) error {
		if err == nil && info.Mode().Perm()&0o077 != 0 {
			b.t.Errorf("%s has mode %o", path, info.Mode().Perm())
		}
		return err
	})
	if err != nil {
		b.t.Error(err)
	}
}

func inodeOf(info os.FileInfo) uint64 {
	if st, ok := info.Sys().(*syscall.Stat_t); ok {
		return st.Ino
	}
	return 0
}
