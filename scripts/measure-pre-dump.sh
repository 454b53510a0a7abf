#!/usr/bin/env bash
# Measures in the VM what rounds of pre-dump save, and writes the table into
# docs/performance.md.
set -euo pipefail

top=$(cd "$(dirname "$0")/.." && pwd)
doc=$top/docs/performance.md
out=$(mktemp)
trap 'rm -f "$out"' EXIT
CHECKPOINTCTL_VM_TAGS=e2e,measure "$top/test/vm/run.sh" -test.run '^TestMeasureDowntime$' | tee "$out"
rows=$(sed -n 's/^measure| /| /p' "$out")
[ -n "$rows" ]
"$top/scripts/table.sh" pre-dump "$doc" '| | rounds | pages in the final dump | gap seen by the program | frozen, by CRIU |' <<<"$rows"
