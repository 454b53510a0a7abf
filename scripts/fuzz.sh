#!/usr/bin/env bash
# Runs the fuzz targets named, or all, for FUZZ_TIME each, one after the other,
# and writes what was tried into docs/reliability.md. What is found stays under
# testdata/fuzz.
#
#   scripts/fuzz.sh [TARGET...]
set -euo pipefail

top=$(cd "$(dirname "$0")/.." && pwd)
doc=$top/docs/reliability.md
go=$(command -v go || echo /usr/local/go/bin/go)
log=$(mktemp)
trap 'rm -f "$log"' EXIT
cd "$top"
failed=0

# all prints FILE:TARGET of each target.
all() { grep -rEo '^func Fuzz\w+' cmd internal --include='*_test.go' | sed 's/func //' | sort; }

# there prints, of the rows on stdin, those whose target is still there.
there() {
	while IFS= read -r row; do
		IFS=' |' read -r pkg target _ <<<"${row#| }"
		grep -qsE "^func $target\(" "$pkg"/*_test.go && printf '%s\n' "$row"
	done || true
}

while IFS=: read -r file target; do
	[ $# = 0 ] || [[ " $* " == *" $target "* ]] || continue
	pkg=./$(dirname "$file")
	# Small inputs are not worth the minute each that minimizing may take.
	"$go" test -run '^$' -fuzzminimizetime 2s -fuzz "^$target\$" -fuzztime "${FUZZ_TIME:-10m}" "$pkg" | tee "$log" || { failed=1; continue; }
	row=$(grep '^fuzz: elapsed' "$log" | tail -n 1 |
		sed -E "s/^fuzz: elapsed: ([^,]*), execs: ([0-9]+) .*total: ([0-9]+).*/| \1 | \2 | \3 |/; s,^,| $pkg | $target ,")
	rest=$(sed -n '/<!-- fuzz: begin/,/<!-- fuzz: end/{/| Fuzz/p}' "$doc" | there | grep -vF "| $pkg | $target |" || true)
	printf '%s\n' "$rest" "$row" | grep . | sort |
		"$top/scripts/table.sh" fuzz "$doc" '| package | target | ran | inputs tried | kept for the ways they go |'
done < <(all)
exit "$failed"
