package main

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

// ran is a command that ended well.
type ran struct {
	stdout string
	began  time.Time
	took   time.Duration
	peak   int64 // of the command itself, without what it ran; bytes
}

// execute runs a command. An interrupt does not end it: what has been frozen
// must be let go.
func execute(ctx context.Context, args ...string) (ran, error) {
	if err := ctx.Err(); err != nil {
		return ran{}, err
	}
	var out, errOut bytes.Buffer
	cmd := exec.Command(args[0], args[1:]...)
	cmd.Stdout, cmd.Stderr = &out, &errOut
	r := ran{began: time.Now()}
	if err := cmd.Start(); err != nil {
		return r, err
	}
	done := make(chan struct{})
	peaks := make(chan int64)
	go func() { peaks <- watchPeak(cmd.Process.Pid, done) }()
	err := cmd.Wait()
	r.took = time.Since(r.began)
	close(done)
	r.peak, r.stdout = <-peaks, strings.TrimSpace(out.String())
	if err != nil {
		return r, fmt.Errorf("%s: %w: %s", strings.Join(args[:min(3, len(args))], " "), err, strings.TrimSpace(errOut.String()))
	}
	return r, nil
}

// watchPeak reads the peak of resident memory until the process has ended.
// The kernel's rusage would do, but counts the children in.
func watchPeak(pid int, done <-chan struct{}) int64 {
	status := filepath.Join("/proc", strconv.Itoa(pid), "status")
	var peak int64
	for {
		data, _ := os.ReadFile(status)
		for line := range strings.Lines(string(data)) {
			if f := strings.Fields(line); len(f) > 1 && f[0] == "VmHWM:" {
				kib, _ := strconv.ParseInt(f[1], 10, 64)
				peak = max(peak, kib<<10)
			}
		}
		select {
		case <-done:
			return peak
		case <-time.After(10 * time.Millisecond):
		}
	}
}

// watchPrograms reads, until done, how much memory all processes of these
// programs have resident together, and returns the most.
func watchPrograms(programs []string, done <-chan struct{}) int64 {
	var most int64
	for {
		now := int64(0)
		links, _ := filepath.Glob("/proc/[0-9]*/exe")
		for _, link := range links {
			if exe, err := os.Readlink(link); err == nil && slices.Contains(programs, exe) {
				now += resident(filepath.Join(filepath.Dir(link), "statm"))
			}
		}
		most = max(most, now)
		select {
		case <-done:
			return most
		case <-time.After(2 * time.Millisecond):
		}
	}
}

// resident is the second field of statm: proc_pid_statm(5).
func resident(statm string) int64 {
	data, _ := os.ReadFile(statm)
	f := strings.Fields(string(data))
	if len(f) < 2 {
		return 0 // it has ended
	}
	pages, _ := strconv.ParseInt(f[1], 10, 64)
	return pages * int64(os.Getpagesize())
}

func micros(d time.Duration) int64 { return d.Microseconds() }

// diskUsage is what the files below a directory take on the disk.
func diskUsage(ctx context.Context, dir string) (int64, error) {
	r, err := execute(ctx, "du", "-s", "-B1", dir)
	if err != nil {
		return 0, err
	}
	return strconv.ParseInt(strings.Fields(r.stdout)[0], 10, 64)
}

var (
	longID  = regexp.MustCompile(`[0-9a-f]{64}`)
	logFile = regexp.MustCompile(`log file: (\S+)`)
)

// reason is the first line of what a failed command said, and CRIU's first
// error where its log is still there.
func reason(err error) string {
	text := strings.TrimSpace(err.Error())
	line, _, _ := strings.Cut(text, "\n")
	if m := logFile.FindStringSubmatch(text); m != nil {
		data, _ := os.ReadFile(strings.TrimSuffix(m[1], ":"))
		for logged := range strings.Lines(string(data)) {
			if strings.Contains(logged, "Error (") && !strings.Contains(logged, "RLIMIT_NOFILE") {
				line += ": " + strings.TrimSpace(logged)
				break
			}
		}
	}
	return longID.ReplaceAllString(line, "ID")
}
