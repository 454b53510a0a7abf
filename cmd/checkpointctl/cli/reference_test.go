package cli

import "testing"

func TestReference(t *testing.T) {
	for _, test := range []struct {
		args                  []string
		container, checkpoint string
		bad                   bool
	}{
		{args: nil},
		{args: []string{"web"}, container: "web"},
		{args: []string{"web", "one"}, container: "web", checkpoint: "one"},
		{args: []string{"web/one"}, container: "web", checkpoint: "one"},
		{args: []string{"web/one", "two"}, bad: true},
		{args: []string{"web/"}, bad: true},
		{args: []string{"/one"}, bad: true},
		{args: []string{"../one"}, bad: true},
		{args: []string{"web/one/two"}, bad: true},
	} {
		container, checkpoint, err := reference(test.args)
		if container != test.container || checkpoint != test.checkpoint || (err != nil) != test.bad {
			t.Errorf("%q: %q, %q, %v", test.args, container, checkpoint, err)
		}
	}
}
