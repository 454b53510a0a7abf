package checkpoint

import (
	"context"
	"errors"
	"slices"
	"testing"

	"github.com/checkpointctl/checkpointctl/internal/criu"
	"github.com/checkpointctl/checkpointctl/internal/metadata"
)

func TestEvents(t *testing.T) {
	for name, test := range map[string]struct {
		req  Request
		want []string
	}{
		"runs on":     {Request{Options: criu.Options{LeaveRunning: true}}, []string{StateRunning, StateThawed}},
		"killed":      {Request{}, []string{StateRunning, StateStopped}},
		"rounds only": {Request{RoundsOnly: true, Rounds: &criu.Policy{}, Options: criu.Options{LeaveRunning: true}}, []string{StateRunning}},
	} {
		t.Run(name, func(t *testing.T) {
			var got []string
			m := &Creator{Dumper: &fakeDumper{}, Docker: fakeEngine{}, Recovery: nothingLeft{}, Store: metadata.Store{Dir: t.TempDir()}}
			m.Happened = func(e Event) {
				got = append(got, e.State)
				if e.Container != "web" || e.Checkpoint != "x" || (e.State == StateThawed) != (e.Took > 0) {
					t.Errorf("%+v", e)
				}
			}
			test.req.Container, test.req.Name = running(), "x"
			if _, err := m.Create(context.Background(), test.req); err != nil {
				t.Fatal(err)
			}
			if !slices.Equal(got, test.want) {
				t.Errorf("got %v, want %v", got, test.want)
			}
		})
	}
}

// A member of a group that is dumped may stay frozen for others.
func TestEventsOfAGroup(t *testing.T) {
	for last, leave := range map[string]bool{StateThawed: true, StateStopped: false} {
		y := &yard{}
		if _, _, errs := y.group(context.Background(), t, leave, 1, "a", "b"); errors.Join(errs...) != nil {
			t.Fatal(errs)
		}
		for _, id := range []string{"a", "b"} {
			var got []string
			for _, e := range y.events {
				if e.Container == id {
					got = append(got, e.State)
				}
				if e.Checkpoint != "x" || e.State == StateThawed && e.Took <= 0 {
					t.Errorf("%+v", e)
				}
			}
			if !slices.Equal(got, []string{StateRunning, last}) {
				t.Errorf("%s: %v", id, got)
			}
		}
	}
	y := &yard{fail: map[string]error{"b": errors.New("boom")}}
	_, _, _ = y.group(context.Background(), t, true, 2, "a", "b")
	for _, e := range y.events {
		if e.Container == "b" && e.State == StateThawed {
			t.Error("b was not dumped")
		}
	}
}
