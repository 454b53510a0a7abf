// Package batch selects containers and works on several at once.
package batch

import (
	"context"
	"errors"
	"fmt"
	"path"
	"strings"

	"golang.org/x/sync/errgroup"

	"github.com/checkpointctl/checkpointctl/internal/docker"
)

// Selection says which running containers are meant. Criteria of different
// kinds must all match.
type Selection struct {
	All            bool
	Names          []string // patterns, any of them
	Labels         []string // KEY or KEY=VALUE, all of them
	ComposeProject string
	Image          string   // pattern
	Exclude        []string // patterns of names
}

// Empty says that there is no criterion.
func (s Selection) Empty() bool {
	return !s.All && len(s.Names)+len(s.Labels) == 0 && s.ComposeProject == "" && s.Image == ""
}

// composeProject is the label that docker compose sets.
const composeProject = "com.docker.compose.project"

// Pick is a container that matches the criteria.
type Pick struct {
	docker.Listed
	Selected bool
	Reason   string // which criteria it matches, or why it is left out all the same
}

// Pick returns the containers that match the criteria, in order.
func (s Selection) Pick(list []docker.Listed) []Pick {
	var out []Pick
	for _, c := range list {
		if reasons, ok := s.match(c); ok {
			p := Pick{Listed: c, Selected: true, Reason: strings.Join(reasons, ", ")}
			if why := s.leftOut(c); why != "" {
				p.Selected, p.Reason = false, why
			}
			out = append(out, p)
		}
	}
	return out
}

func (s Selection) match(c docker.Listed) (reasons []string, ok bool) {
	if s.Empty() {
		return nil, false
	}
	if s.All {
		reasons = append(reasons, "all")
	}
	if len(s.Names) > 0 {
		p, ok := matching(s.Names, c.Name)
		if !ok {
			return nil, false
		}
		reasons = append(reasons, "name "+p)
	}
	labels := s.Labels
	if s.ComposeProject != "" {
		labels = append(labels[:len(labels):len(labels)], composeProject+"="+s.ComposeProject)
	}
	for _, l := range labels {
		key, want, exact := strings.Cut(l, "=")
		if got, ok := c.Labels[key]; !ok || exact && got != want {
			return nil, false
		}
		reasons = append(reasons, "label "+l)
	}
	if s.Image != "" {
		if _, ok := matching([]string{s.Image}, c.Image); !ok {
			return nil, false
		}
		reasons = append(reasons, "image "+s.Image)
	}
	return reasons, true
}

func (s Selection) leftOut(c docker.Listed) string {
	if p, ok := matching(s.Exclude, c.Name); ok {
		return "excluded by " + p
	}
	if c.State != "running" {
		return "is " + c.State
	}
	return ""
}

// matching returns the first pattern that matches; bad ones match nothing.
func matching(patterns []string, name string) (string, bool) {
	for _, p := range patterns {
		if ok, _ := path.Match(p, name); ok {
			return p, true
		}
	}
	return "", false
}

// CheckPatterns refuses patterns that path.Match does not take.
func CheckPatterns(patterns ...string) error {
	for _, p := range patterns {
		if _, err := path.Match(p, ""); err != nil {
			return fmt.Errorf("%q is not a pattern: %w", p, err)
		}
	}
	return nil
}

// ErrNotStarted is of those that were still to come at an interrupt.
var ErrNotStarted = errors.New("not started")

// Run calls do for 0 to n-1, limit of them at once, and returns their errors in
// this order. One that fails does not stop the others; when ctx ends no more
// are started.
func Run(ctx context.Context, n, limit int, do func(i int) error) []error {
	errs := make([]error, n)
	var g errgroup.Group
	g.SetLimit(max(limit, 1))
	for i := range n {
		g.Go(func() error {
			if ctx.Err() != nil {
				errs[i] = fmt.Errorf("%w: %w", ErrNotStarted, ctx.Err())
				return nil
			}
			errs[i] = do(i)
			return nil
		})
	}
	_ = g.Wait()
	return errs
}
