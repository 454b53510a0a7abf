#!/usr/bin/env bash
# Runs every fuzz target for FUZZ_TIME, one after the other, and writes what was
# tried into docs/reliability.md. What is found stays under testdata/fuzz.
set -euo pipefail

top=$(cd "$(dirname "$0")/.." && pwd)
doc=$top/docs/reliability.md
go=$(command -v go || echo /usr/local/go/bin/go)
cd "$top"
rows='' failed=0
while IFS=: read -r file target; do
	pkg=./$(dirname "$file")
	log=$(mktemp)
	"$go" test -run '^$' -fuzz "^$target\$" -fuzztime "${FUZZ_TIME:-10m}" "$pkg" | tee "$log" || failed=1
	last=$(grep '^fuzz: elapsed' "$log" | tail -n 1)
	rows+=$(sed -E "s|^fuzz: elapsed: ([^,]*), execs: ([0-9]+) .*total: ([0-9]+).*|$pkg \| $target \| \1 \| \2 \| \3 \||; s|^|\| |" <<<"$last")$'\n'
	rm -f "$log"
done < <(grep -rEo '^func Fuzz\w+' internal --include='*_test.go' | sed 's/func //' | sort)
"$top/scripts/table.sh" fuzz "$doc" '| package | target | ran | inputs tried | kept for the ways they go |' <<<"${rows%$'\n'}"
exit "$failed"
