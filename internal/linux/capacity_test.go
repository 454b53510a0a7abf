package linux

import (
	"os"
	"path/filepath"
	"runtime"
	"testing"
)

func TestListed(t *testing.T) {
	for list, want := range map[string]int{"0": 1, "0-3": 4, "0-1,4,6-7": 5} {
		if n, err := listed(list); err != nil || n != want {
			t.Errorf("%s: %d, %v", list, n, err)
		}
	}
	for _, list := range []string{"", "0-", "all"} {
		if n, err := listed(list); err == nil {
			t.Errorf("%q: %d", list, n)
		}
	}
	if n, err := PossibleCPUs(); err != nil || n < runtime.NumCPU() {
		t.Errorf("%d, %v", n, err)
	}
}

func TestFreeHugePages(t *testing.T) {
	dir := t.TempDir()
	if err := os.Mkdir(filepath.Join(dir, "hugepages-2048kB"), 0o755); err != nil {
		t.Fatal(err)
	}
	for name, n := range map[string]string{"free_hugepages": "10\n", "resv_hugepages": "4\n", "nr_overcommit_hugepages": "3\n", "surplus_hugepages": "1\n"} {
		if err := os.WriteFile(filepath.Join(dir, "hugepages-2048kB", name), []byte(n), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if n := freeHugePages(dir, 2<<20); n != 8 {
		t.Error(n)
	}
	if n := freeHugePages(dir, 1<<30); n != 0 {
		t.Error(n)
	}
}
