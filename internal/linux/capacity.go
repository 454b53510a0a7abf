package linux

import (
	"fmt"
	"os"
	"strconv"
	"strings"
)

// PossibleCPUs is how many CPUs the kernel is prepared for, also those that are not
// there now.
func PossibleCPUs() (int, error) {
	const file = "/sys/devices/system/cpu/possible"
	data, err := os.ReadFile(file)
	if err != nil {
		return 0, err
	}
	n, err := listed(strings.TrimSpace(string(data)))
	if err != nil {
		return 0, fmt.Errorf("%s: %w", file, err)
	}
	return n, nil
}

// listed counts the members of a list like 0-3,8.
func listed(list string) (n int, err error) {
	for part := range strings.SplitSeq(list, ",") {
		first, last, isRange := strings.Cut(part, "-")
		if !isRange {
			last = first
		}
		from, err := strconv.Atoi(first)
		if err != nil {
			return 0, err
		}
		to, err := strconv.Atoi(last)
		if err != nil {
			return 0, err
		}
		n += to - from + 1
	}
	return n, nil
}

// FreeHugePages is how many huge pages of a size in bytes can be had: free ones that
// nobody has reserved, and those that the kernel may add
// (Documentation/admin-guide/mm/hugetlbpage.rst). It is 0 where there are none of the
// size.
func FreeHugePages(size int64) int64 { return freeHugePages("/sys/kernel/mm/hugepages", size) }

func freeHugePages(dir string, size int64) int64 {
	read := func(name string) int64 {
		data, err := os.ReadFile(fmt.Sprintf("%s/hugepages-%dkB/%s", dir, size>>10, name))
		if err != nil {
			return 0
		}
		n, _ := strconv.ParseInt(strings.TrimSpace(string(data)), 10, 64)
		return n
	}
	return read("free_hugepages") - read("resv_hugepages") + max(0, read("nr_overcommit_hugepages")-read("surplus_hugepages"))
}
