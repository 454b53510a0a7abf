//go:build e2e

package e2e

import (
	"bytes"
	endian "encoding/binary"
	"encoding/hex"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

// chain is the part of a record that is about rounds.
type chain struct {
	SizeBytes int64      `json:"size_bytes"`
	Stats     roundStats `json:"stats"`
	PreDump   struct {
		Rounds     []roundStats `json:"rounds"`
		Stop       string       `json:"stop"`
		ExpectedUS int64        `json:"expected_downtime_us"`
		MeasuredUS int64        `json:"measured_downtime_us"`
	} `json:"pre_dump"`
}

type roundStats struct {
	FreezingUS   int64 `json:"freezing_us"`
	FrozenUS     int64 `json:"frozen_us"`
	PagesSkipped int64 `json:"pages_skipped"`
	PagesWritten int64 `json:"pages_written"`
}

// check is what checkpointctl check prints. It tries out much, which takes long in emulation.
var check struct {
	once   sync.Once
	stdout string
}

// tracking says whether this kernel can count dirty pages, and if it cannot
// tests the refusal, which is all there is to test then. The VM can.
func tracking(t *testing.T, b *box) bool {
	t.Helper()
	check.once.Do(func() { check.stdout = b.ctl("check").stdout })
	out := check.stdout
	if regexp.MustCompile(`(?m)^ok +dirty tracking`).MatchString(out) {
		return true
	}
	if os.Getenv("CHECKPOINTCTL_E2E_SLOW") != "" {
		t.Fatalf("the VM's kernel cannot track dirty pages: %s", out)
	}
	b.untouched(func() {
		for _, args := range [][]string{{"checkpoint", b.name, "--pre-dump"}, {"pre-dump", b.name}} {
			if r := b.must(21, args...); !strings.Contains(r.stderr, "cannot track dirty memory") {
				t.Errorf("stderr: %s", r.stderr)
			}
		}
	})
	if r := b.must(0, "checkpoint", b.name, "--pre-dump=auto"); !strings.Contains(r.stderr, "no pre-dump") {
		t.Errorf("stderr: %s", r.stderr)
	}
	return false
}

// dirty starts a program with so many MiB, of which so many change all the time.
func dirty(t *testing.T, total, hot string) *box {
	t.Helper()
	b := start(t, baseImage, "/workload", "dirty", total, hot)
	b.await(8)
	return b
}

func (b *box) chain(args ...string) chain {
	b.t.Helper()
	out := []byte(b.must(0, append(args, "--json")...).stdout)
	var c chain
	if args[0] == "pre-dump" {
		if err := json.Unmarshal(out, &c); err != nil {
			b.t.Fatal(err)
		}
	} else {
		var made []struct{ Record chain }
		if err := json.Unmarshal(out, &made); err != nil || len(made) != 1 {
			b.t.Fatalf("%v: %s", err, out)
		}
		c = made[0].Record
	}
	b.t.Logf("%v: rounds %+v, final %+v, stop %s, expected %d us, measured %d us", args, c.PreDump.Rounds, c.Stats, c.PreDump.Stop, c.PreDump.ExpectedUS, c.PreDump.MeasuredUS)
	return c
}

// ask sends the program a signal and returns what it prints in answer.
func (b *box) ask(signal, pattern string) string {
	b.t.Helper()
	re := regexp.MustCompile("(?m)^" + pattern + "$")
	count := func() [][]string { return re.FindAllStringSubmatch(b.logs("all"), -1) }
	before := len(count())
	b.signal(signal)
	var found [][]string
	if !until(10*time.Second, func() bool { found = count(); return len(found) > before }) {
		b.t.Fatalf("no answer to %s", signal)
	}
	return found[len(found)-1][1]
}

func (b *box) memoryIsRight() {
	b.t.Helper()
	if got := b.ask("USR2", "memory (.*)"); got != "right" {
		b.t.Errorf("memory %s", got)
	}
}

// gap is the longest time that the program stood still since asked last.
func (b *box) gap() time.Duration {
	b.t.Helper()
	us, err := strconv.Atoi(b.ask("USR1", `gap (\d+) us`))
	if err != nil {
		b.t.Fatal(err)
	}
	return time.Duration(us) * time.Microsecond
}

// again kills the container, restores it and wants its memory right.
func (b *box) again(checkpoint string) {
	b.t.Helper()
	b.kill()
	b.restore(checkpoint)
	b.memoryIsRight()
}

func TestPreDumpConverges(t *testing.T) {
	b := dirty(t, "48", "1")
	if !tracking(t, b) {
		return
	}
	c := b.chain("checkpoint", b.name, "--pre-dump", "--name", "one")
	if n := len(c.PreDump.Rounds); n < 2 || c.PreDump.Stop != "converged" {
		t.Errorf("%d rounds, %s", n, c.PreDump.Stop)
	}
	if first := c.PreDump.Rounds[0].PagesWritten; c.Stats.PagesWritten*20 > first {
		t.Errorf("the final dump wrote %d pages, the first round %d", c.Stats.PagesWritten, first)
	}
	b.await(b.count())
	b.memoryIsRight()
	b.again("one")
	// The restored one is checkpointed like any other.
	b.chain("checkpoint", b.name, "--pre-dump", "--name", "two", "--leave-running=false")
	b.restore("two")
	b.memoryIsRight()
	b.again("one")
}

func TestPreDumpMeetsAGoal(t *testing.T) {
	b := dirty(t, "32", "1")
	if !tracking(t, b) {
		return
	}
	c := b.chain("checkpoint", b.name, "--max-downtime", "10m")
	if len(c.PreDump.Rounds) != 1 || c.PreDump.Stop != "downtime-met" || c.PreDump.ExpectedUS == 0 || c.PreDump.MeasuredUS == 0 {
		t.Errorf("%+v", c.PreDump)
	}
	b.again("checkpoint1")
}

func TestPreDumpOfWhatChangesAllTheTime(t *testing.T) {
	b := dirty(t, "6", "6")
	if !tracking(t, b) {
		return
	}
	c := b.chain("checkpoint", b.name, "--pre-dump", "--max-rounds", "4")
	if c.PreDump.Stop != "growing" && c.PreDump.Stop != "max-rounds" {
		t.Errorf("stop %s", c.PreDump.Stop)
	}
	b.again("checkpoint1")
}

func TestTenRoundsTakeLittleMoreSpaceThanOne(t *testing.T) {
	b := dirty(t, "32", "4")
	if !tracking(t, b) {
		return
	}
	plain := b.chain("checkpoint", b.name)
	c := b.chain("checkpoint", b.name, "--pre-dump", "--min-rounds", "10", "--max-rounds", "10", "--name", "ten")
	b.must(0, "verify", b.name, "ten") // hashes are of what deduplication left
	if n := len(c.PreDump.Rounds); n != 10 {
		t.Errorf("%d rounds", n)
	}
	t.Logf("one dump %d bytes, ten rounds %d", plain.SizeBytes, c.SizeBytes)
	if c.SizeBytes*10 > plain.SizeBytes*13 {
		t.Errorf("ten rounds take %d bytes, one dump %d", c.SizeBytes, plain.SizeBytes)
	}
	b.again("ten")
}

func TestPreDumpThenCheckpoint(t *testing.T) {
	b := dirty(t, "32", "1")
	if !tracking(t, b) {
		return
	}
	b.chain("pre-dump", b.name, "--name", "early")
	b.must(23, "restore", b.name, "early")
	c := b.chain("checkpoint", b.name, "--parent", "early", "--name", "late")
	if c.Stats.PagesSkipped < 8*c.Stats.PagesWritten {
		t.Errorf("final dump: %+v", c.Stats)
	}
	b.memoryIsRead("late", 1<<20)
	next := b.chain("checkpoint", b.name, "--parent", "late", "--pre-dump", "--name", "later")
	if next.Stats.PagesSkipped == 0 {
		t.Errorf("continued dump: %+v", next.Stats)
	}
	b.must(0, "verify", b.name)
	b.must(13, "rm", b.name, "early")
	b.must(11, "checkpoint", b.name, "--parent", "early")
	b.again("late")
	b.again("later")
	b.must(11, "checkpoint", b.name, "--parent", "later")
	b.must(0, "rm", b.name, "later", "late", "early")
}

// memoryIsRead compares what a checkpoint with a parent shows of the program's memory with
// that memory. Most of it did not change since and lies in the parent; the first bytes, so
// many as are hot, are in both, and those in the parent are old.
func (b *box) memoryIsRead(checkpoint string, hot int) {
	b.t.Helper()
	const page = 4096
	type pages struct {
		Present, Missing int
		InParent         int `json:"in_parent"`
	}
	var doc struct {
		Maps []struct {
			Pages    pages
			Mappings []struct {
				Start int
				Pages pages
			}
		}
	}
	r := b.must(0, "show", b.name, checkpoint, "maps", "--json")
	if err := json.Unmarshal([]byte(r.stdout), &doc); err != nil || len(doc.Maps) != 1 {
		b.t.Fatalf("%v: %s", err, r.stdout)
	}
	arena, most := 0, 0 // the mapping with most in images is where Go has its heap
	for _, m := range doc.Maps[0].Mappings {
		if n := m.Pages.Present + m.Pages.InParent; n > most {
			arena, most = m.Start, n
		}
	}
	file := filepath.Join(b.t.TempDir(), "memory")
	b.must(0, "dump-memory", b.name, checkpoint, "--pid", "1", "--map", strconv.FormatInt(int64(arena), 16), "-o", file)
	dumped, err := os.ReadFile(file)
	if err != nil {
		b.t.Fatal(err)
	}
	memory, err := os.Open(filepath.Join("/proc", b.pid(), "mem"))
	if err != nil {
		b.t.Fatal(err)
	}
	defer memory.Close()
	now := make([]byte, len(dumped))
	if _, err := memory.ReadAt(now, int64(arena)); err != nil {
		b.t.Fatal(err)
	}
	var same []int
	changed, run, longest, last := 0, 0, 0, 0 // the longest run of changed pages ends at last
	for at := 0; at < len(dumped); at += page {
		if !bytes.Equal(dumped[at:at+page], now[at:at+page]) {
			if run++; run > longest {
				longest, last = run, at+page
			}
			changed++
			continue
		}
		if run = 0; dumped[at+100] != 0 {
			same = append(same, at)
		}
	}
	if len(same) < 30<<20/page || changed > hot/page+100 || longest < hot/page {
		b.t.Fatalf("%d pages of %d are as they are now, %d are not, %d of them in a row", len(same), len(dumped)/page, changed, longest)
	}
	// The program counts, and writes the number to one hot page after the other.
	least, greatest := ^uint64(0), uint64(0)
	for at := last - hot; at < last; at += page {
		n := endian.LittleEndian.Uint64(dumped[at:])
		least, greatest = min(least, n), max(greatest, n)
	}
	if greatest-least >= uint64(hot/page) || least == 0 {
		b.t.Errorf("hot pages have %d to %d: some are of the parent", least, greatest)
	}
	for name, at := range map[string]int{"idle": same[len(same)/2] + 100, "hot": last - hot} {
		needle := hex.EncodeToString(dumped[at : at+24])
		var found []struct{ Address int }
		r := b.must(0, "grep", b.name, checkpoint, "--hex", needle, "--json")
		if err := json.Unmarshal([]byte(r.stdout), &found); err != nil || len(found) != 1 || found[0].Address != arena+at {
			b.t.Errorf("%s bytes at %x: %s, %v", name, arena+at, r.stdout, err)
		}
	}
	if p := doc.Maps[0].Pages; p.InParent < 30<<20/page || p.Present < hot/page || p.Missing != 0 {
		b.t.Errorf("pages: %+v", p)
	}
}

// The container is paused, or ends, between two rounds.
func TestContainerLeavesInTheMiddleOfRounds(t *testing.T) {
	b := dirty(t, "32", "1")
	if !tracking(t, b) {
		return
	}
	during := func(do func(*exec.Cmd)) (int, string) {
		t.Helper()
		cmd := exec.Command(binary, "--dir", b.store, "checkpoint", b.name, "--pre-dump", "--min-rounds", "1000", "--max-rounds", "1000")
		var stderr strings.Builder
		cmd.Stderr = &stderr
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		second := filepath.Join(b.store, b.name, ".new-checkpoint1", "pre-dump", "2", "dump.log")
		for range 1000 * slow {
			if _, err := os.Stat(second); err == nil {
				break
			}
			time.Sleep(5 * time.Millisecond)
		}
		do(cmd)
		_ = cmd.Wait()
		return cmd.ProcessState.ExitCode(), stderr.String()
	}
	nothingNew := func() {
		t.Helper()
		if list := b.list(); len(list) != 0 {
			t.Errorf("listed: %+v", list)
		}
	}
	code, text := during(func(*exec.Cmd) { docker(t, "pause", b.name) })
	if state := b.state(); code == 0 || state != "paused" {
		t.Errorf("paused: exit %d, the container is %s: %s", code, state, text)
	}
	nothingNew()
	docker(t, "unpause", b.name)
	b.await(b.count())
	var interrupted int
	interrupted, text = during(func(cmd *exec.Cmd) { _ = cmd.Process.Signal(os.Interrupt) })
	if interrupted != 130 {
		t.Errorf("interrupted: exit %d: %s", interrupted, text)
	}
	nothingNew()
	b.memoryIsRight()
	code, text = during(func(*exec.Cmd) { b.kill() })
	if code != 22 && code != 11 || strings.Contains(text, "runs on") {
		t.Errorf("killed: exit %d: %s", code, text)
	}
	nothingNew()
}
