package batch

import (
	"context"
	"errors"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/checkpointctl/checkpointctl/internal/docker"
)

var list = []docker.Listed{
	{Name: "cache", Image: "redis:7", State: "running"},
	{Name: "db", Image: "reg/postgres:17", State: "running", Labels: map[string]string{"app": "shop", composeProject: "shop"}},
	{Name: "old", Image: "app:1", State: "exited", Labels: map[string]string{"app": "shop"}},
	{Name: "web-1", Image: "app:1", State: "running", Labels: map[string]string{"app": "shop", "tier": "", composeProject: "shop"}},
	{Name: "web-2", Image: "app:2", State: "paused", Labels: map[string]string{"app": "bank"}},
}

func TestPick(t *testing.T) {
	for name, test := range map[string]struct {
		s    Selection
		want string // selected ones; (left out)
	}{
		"nothing":              {Selection{}, ""},
		"only exclusion":       {Selection{Exclude: []string{"*"}}, ""},
		"all":                  {Selection{All: true}, "cache db (old) web-1 (web-2)"},
		"all but":              {Selection{All: true, Exclude: []string{"web-*", "c*"}}, "(cache) db (old) (web-1) (web-2)"},
		"any of the names":     {Selection{Names: []string{"db", "web-?"}}, "db web-1 (web-2)"},
		"label":                {Selection{Labels: []string{"app"}}, "db (old) web-1 (web-2)"},
		"label with value":     {Selection{Labels: []string{"app=shop"}}, "db (old) web-1"},
		"label, empty value":   {Selection{Labels: []string{"tier="}}, "web-1"},
		"all of the labels":    {Selection{Labels: []string{"app=shop", "tier"}}, "web-1"},
		"compose project":      {Selection{ComposeProject: "shop"}, "db web-1"},
		"image":                {Selection{Image: "app:*"}, "(old) web-1 (web-2)"},
		"image, no slash":      {Selection{Image: "*"}, "cache (old) web-1 (web-2)"},
		"image with slash":     {Selection{Image: "reg/*"}, "db"},
		"different kinds, all": {Selection{Names: []string{"web-*"}, Labels: []string{"app=shop"}, Image: "app:*"}, "web-1"},
		"no match":             {Selection{Names: []string{"web"}}, ""},
	} {
		var got []string
		for _, p := range test.s.Pick(list) {
			if p.Reason == "" {
				t.Errorf("%s: no reason for %s", name, p.Name)
			}
			if p.Selected {
				got = append(got, p.Name)
			} else {
				got = append(got, "("+p.Name+")")
			}
		}
		if s := strings.Join(got, " "); s != test.want {
			t.Errorf("%s: %s, want %s", name, s, test.want)
		}
	}
	if CheckPatterns("a*", "[") == nil || CheckPatterns("a*", "") != nil {
		t.Error("patterns")
	}
}

func TestRun(t *testing.T) {
	boom := errors.New("boom")
	var now atomic.Int64
	var first sync.WaitGroup
	first.Add(3)
	errs := Run(context.Background(), 9, 3, func(i int) error {
		if n := now.Add(1); n > 3 {
			t.Errorf("%d at once", n)
		}
		defer now.Add(-1)
		if i < 3 { // hangs unless three are at once
			first.Done()
			first.Wait()
		}
		if i == 4 {
			return boom
		}
		return nil
	})
	for i, err := range errs {
		if (err != nil) != (i == 4) {
			t.Errorf("%d: %v", i, err)
		}
	}
}

// At an interrupt those under way end, and no more are started.
func TestRunInterrupted(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	started := 0
	errs := Run(ctx, 5, 1, func(i int) error {
		if started++; i == 1 {
			cancel()
		}
		return nil
	})
	if started != 2 || errs[1] != nil || !errors.Is(errs[2], ErrNotStarted) || !errors.Is(errs[4], context.Canceled) {
		t.Errorf("%d started, %v", started, errs)
	}
}
