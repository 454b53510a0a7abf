package checkpoint

import (
	"context"
	"errors"
	"testing"

	"github.com/checkpointctl/checkpointctl/internal/criu"
	"github.com/checkpointctl/checkpointctl/internal/metadata"
)

// fickleDumper fails with these errors, one after the other.
type fickleDumper struct {
	fakeDumper
	errs  []error
	tries int
}

func (f *fickleDumper) Dump(ctx context.Context, r criu.Request) (criu.Result, error) {
	f.tries++
	f.err = nil
	if f.tries <= len(f.errs) {
		f.err = f.errs[f.tries-1]
	}
	return f.fakeDumper.Dump(ctx, r)
}

func TestWhatPassesIsTriedAgain(t *testing.T) {
	passes := &criu.DumpError{Err: errors.New("x"), Log: "(00.1) Error (criu/seize.c:335): zombie 7 (comm sh) found while seizing\n"}
	lasts := &criu.DumpError{Err: errors.New("x"), Log: "(00.1) Error (criu/a.c:1): Unknown\n"}
	for name, test := range map[string]struct {
		errs  []error
		tries int
		fails bool
	}{
		"nothing":         {nil, 1, false},
		"once":            {[]error{passes}, 2, false},
		"three times":     {[]error{passes, passes, passes}, 4, false},
		"for ever":        {[]error{passes, passes, passes, passes, passes}, 4, true},
		"what lasts":      {[]error{lasts}, 1, true},
		"a connection":    {[]error{errConnected, passes}, 3, false},
		"then what lasts": {[]error{passes, lasts}, 2, true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dump := &fickleDumper{errs: test.errs}
			m := &Creator{Dumper: dump, Docker: fakeEngine{}, Recovery: nothingLeft{}, Store: metadata.Store{Dir: t.TempDir()}}
			_, err := m.Create(context.Background(), Request{Container: running(), Options: criu.Options{LeaveRunning: true, NetworkLock: LockAuto}})
			if (err != nil) != test.fails || dump.tries != test.tries {
				t.Errorf("%d tries, %v", dump.tries, err)
			}
			list, _ := m.Store.List("")
			if (len(list) == 1) == test.fails {
				t.Errorf("listed %v", list)
			}
		})
	}
}

// What the first try has done to the kernel's count would be lost.
func TestNoSecondTryWithAParent(t *testing.T) {
	dump := &fickleDumper{}
	m := &Creator{Dumper: dump, Docker: fakeEngine{}, Recovery: nothingLeft{}, Store: metadata.Store{Dir: t.TempDir()}}
	options := criu.Options{LeaveRunning: true, NetworkLock: LockAuto}
	if _, err := m.Create(context.Background(), Request{Container: running(), Name: "a", Options: options, Rounds: &criu.Policy{}}); err != nil {
		t.Fatal(err)
	}
	dump.tries, dump.errs = 0, []error{&criu.DumpError{Err: errors.New("x"), Log: "(00.1) Error (criu/seize.c:335): zombie 7 (comm sh) found while seizing\n"}}
	if _, err := m.Create(context.Background(), Request{Container: running(), Name: "b", Parent: "a", Options: options}); err == nil || dump.tries != 1 {
		t.Errorf("%d tries, %v", dump.tries, err)
	}
	if dump.got.Options.NetworkLock != lockIptables {
		t.Errorf("network lock %s", dump.got.Options.NetworkLock)
	}
}
