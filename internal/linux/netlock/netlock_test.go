package netlock

import "testing"

func TestIsLock(t *testing.T) {
	for rule, want := range map[string]bool{
		"-N CRIU": true, "-A CRIU -m mark --mark 0xc114 -j ACCEPT": true, "-A INPUT -j CRIU": true,
		"-A INPUT -m mark ! --mark 0xc114 -j DROP": true, "-A INPUT -j DROP": false, "-P INPUT ACCEPT": false, "": false,
	} {
		if got := isLock(rule); got != want {
			t.Errorf("%q: %v", rule, got)
		}
	}
}
