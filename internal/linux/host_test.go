package linux

import (
	"reflect"
	"testing"
)

func TestCPUFeatures(t *testing.T) {
	got := cpuFeatures("processor\t: 0\nflags\t\t: fpu avx2 ibrs sse4_2\nprocessor\t: 1\nflags\t\t: fpu\n")
	if !reflect.DeepEqual(got, []string{"avx2", "sse4_2"}) {
		t.Errorf("x86: %v", got)
	}
	if got := cpuFeatures("Features\t: fp asimd\n"); !reflect.DeepEqual(got, []string{"fp", "asimd"}) {
		t.Errorf("arm64: %v", got)
	}
}
