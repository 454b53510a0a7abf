package config

import (
	"errors"
	"os"
	"testing"
)

// Whatever the file holds, it is refused as invalid or gives settings that
// pass.
func FuzzLoad(f *testing.F) {
	shipped, err := os.ReadFile("../../configs/checkpointctl.yaml")
	if err != nil {
		f.Fatal(err)
	}
	f.Add(string(shipped))
	f.Add("checkpoint: {leave_running: no}\nmounts: {rules: [{path: '[', action: dump}]}\n")
	f.Add("a: &a [*a]\n")
	f.Fuzz(func(t *testing.T, text string) {
		s, err := new(Loader).Load(write(t, text), nil)
		if err != nil {
			if !errors.Is(err, ErrInvalid) {
				t.Errorf("%v is not ErrInvalid", err)
			}
			return
		}
		if err := s.Validate(); err != nil {
			t.Error(err)
		}
		if len(s.List()) < len(Defaults()) {
			t.Errorf("%d settings", len(s.List()))
		}
	})
}
