//go:build !e2e

package e2e

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// What long.txt names is there, and make e2e runs each test in one of its two parts, but
// none that is named Travels.
func TestLong(t *testing.T) {
	files, err := filepath.Glob("*_test.go")
	if err != nil {
		t.Fatal(err)
	}
	var source strings.Builder
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		source.Write(data)
	}
	list, err := os.ReadFile("long.txt")
	if err != nil {
		t.Fatal(err)
	}
	var patterns []string
	for line := range strings.Lines(string(list)) {
		name := strings.TrimSuffix(line, "\n")
		if strings.HasPrefix(name, "#") {
			continue
		}
		test, rest, _ := strings.Cut(name, "/")
		if !strings.Contains(source.String(), "\nfunc "+test+"(t *testing.T) {") {
			t.Errorf("there is no %s", test)
		}
		for _, part := range strings.FieldsFunc(rest, func(r rune) bool { return r == '/' }) {
			if !strings.Contains(source.String(), `"`+strings.ReplaceAll(part, "_", " ")+`"`) {
				t.Errorf("%s: there is no %q", test, part)
			}
		}
		patterns = append(patterns, "^"+strings.ReplaceAll(name, "/", "$/^")+"$")
	}
	out, err := exec.Command("make", "-s", "-n", "-C", "../..", "e2e").Output()
	if err != nil {
		t.Fatal(err)
	}
	long := strings.Join(patterns, "|")
	for _, want := range []string{fmt.Sprintf(" -skip '%s|Travels'", long), fmt.Sprintf(" -run '%s'", long)} {
		if strings.Count(string(out), want) != 1 {
			t.Errorf("make e2e has not one%s in\n%s", want, out)
		}
	}
}
