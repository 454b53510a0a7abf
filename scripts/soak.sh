#!/usr/bin/env bash
# Kills checkpointctl, CRIU and its children at random times of dumps, and all that
# has a part in a restore at random times of restores, so often as SOAK_RUNS says,
# and writes what became of it into docs/reliability.md.
set -euo pipefail

top=$(cd "$(dirname "$0")/.." && pwd)
doc=$top/docs/reliability.md
go=$(command -v go || echo /usr/local/go/bin/go)
out=$(mktemp)
trap 'rm -f "$out"' EXIT
cd "$top"
export SOAK_RUNS=${SOAK_RUNS:-216}
failed=0
"$go" test -tags e2e,soak -count=1 -timeout "${SOAK_TIMEOUT:-3h}" -parallel 6 -v -run '^TestSoak' ./test/e2e/ | tee "$out" || failed=$?
rows=$(sed -n 's/^soak| /| /p' "$out")
[ -n "$rows" ]
total=$(awk -F'|' '{ t += $4; s += $5; m += $6 } END { printf "| all | | %d | %d | %d |", t, s, m }' <<<"$rows")
"$top/scripts/table.sh" soak "$doc" '| killed | it had got to | tried | survived | recovered by the next run or repair |' <<<"$rows
$total"
exit "$failed"
