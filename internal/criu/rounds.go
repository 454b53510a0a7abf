package criu

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"golang.org/x/sys/unix"

	"github.com/checkpointctl/checkpointctl/internal/criuimg"
)

// Rounds says how pre-dumps are made before a dump.
type Rounds struct {
	Policy Policy
	// Before, if set, runs before every round and before what follows the
	// last. Its failure ends the chain; the tasks run on.
	Before func(context.Context) error
	// Done, if set, hears of every round, and of the reason after the last.
	Done func(Round, Stop)
}

// Round is one pre-dump: what was dirty since the round before was copied,
// while the tasks stood still for Stats.Downtime.
type Round struct {
	Number    int
	Stats     criuimg.Stats
	Took      time.Duration
	FreeBytes int64         // on the images' filesystem, after it
	Expected  time.Duration // downtime of the final dump, if it came next
}

// RoundDir is where the images of a round are, relative to those of the final dump.
func RoundDir(number int) string { return filepath.Join("pre-dump", strconv.Itoa(number)) }

// rounds makes pre-dumps until the policy says why to stop.
func (w worker) rounds(ctx context.Context, req Request) ([]Round, Stop, error) {
	var list []Round
	for {
		if req.Rounds.Before != nil {
			if err := req.Rounds.Before(ctx); err != nil {
				return list, "", err
			}
		}
		if len(list) > 0 {
			stop := req.Rounds.Policy.Next(list)
			if req.Rounds.Done != nil {
				req.Rounds.Done(list[len(list)-1], stop)
			}
			if stop != "" {
				return list, stop, nil
			}
		}
		r, err := w.round(ctx, req, len(list)+1)
		if err != nil {
			return list, "", fmt.Errorf("pre-dump round %d: %w", len(list)+1, err)
		}
		list = append(list, r)
		list[len(list)-1].Expected = req.Rounds.Policy.Expect(list)
	}
}

func (w worker) round(ctx context.Context, req Request, number int) (Round, error) {
	to := images{dir: filepath.Join(req.ImageDir, RoundDir(number))}
	switch {
	case number > 1:
		to.parent = filepath.Join("..", strconv.Itoa(number-1))
	case req.Parent != "":
		to.parent = filepath.Join("../..", req.Parent)
	}
	if err := os.MkdirAll(to.dir, 0o700); err != nil {
		return Round{}, err
	}
	began := time.Now()
	if err := w.run(ctx, req, to, w.PreDump, nil); err != nil {
		return Round{}, err
	}
	r := Round{Number: number, Took: time.Since(began), Stats: criuimg.ReadStats(criuimg.Dir(to.dir))}
	var fs unix.Statfs_t
	if err := unix.Statfs(to.dir, &fs); err != nil {
		return Round{}, err
	}
	r.FreeBytes = int64(fs.Bavail) * fs.Bsize
	return r, ctx.Err()
}
