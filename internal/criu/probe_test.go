package criu

import "testing"

func TestNoTCP(t *testing.T) {
	for _, test := range []struct {
		v      Version
		kernel string
		want   bool
	}{
		{40101, "6.18.44-x", true}, {40101, "6.16.0", true}, {40101, "7.0.1", true},
		{40101, "6.12.48+deb13-amd64", false}, {40200, "6.18.44", false}, {40101, "odd", false},
	} {
		if got := test.v.NoTCP(test.kernel); got != test.want {
			t.Errorf("%s on %s: got %v", test.v, test.kernel, got)
		}
	}
}
