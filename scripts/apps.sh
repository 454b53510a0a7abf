#!/usr/bin/env bash
# Takes real applications through APPS_CYCLES (20) cycles of checkpoint, kill and restore
# under load, and writes their table of docs/reliability.md.
set -euo pipefail

top=$(cd "$(dirname "$0")/.." && pwd)
doc=$top/docs/reliability.md
go=$(command -v go || echo /usr/local/go/bin/go)
out=$(mktemp)
trap 'rm -f "$out"' EXIT
cd "$top"
export CHECKPOINTCTL_E2E_ROUNDS=${APPS_CYCLES:-20}
failed=0
"$go" test -tags e2e,apps -count=1 -timeout 2h -parallel 3 -v -run '^TestApplications$' ./test/e2e/ | tee "$out" || failed=$?
rows=$(sed -n 's/^apps| /| /p' "$out" | sort -f)
[ -n "$rows" ]
"$top/scripts/table.sh" apps "$doc" '| application | version | load | cycles | what the clients saw |' <<<"$rows"
exit "$failed"
