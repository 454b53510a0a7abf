#!/bin/sh
# golangci-lint and govulncheck, in the versions of tools/go.mod. Neither asks
# the network for anything but Go modules: the vulnerabilities known are those
# of the golang.org/x/vulndb there. The tools may need a newer Go than this
# project, which is a module, too.
set -eu
cd "$(dirname "$0")/.."
go=${GO:-$(command -v go || echo /usr/local/go/bin/go)}
bin=$PWD/bin/tools
GOTOOLCHAIN=auto "$go" -C tools build -o "$bin/" tool

"$bin/golangci-lint" run ./...

db=$(mktemp -d)
trap 'rm -rf "$db"' EXIT
"$bin/indexdb" -out "$db" -vulns "$(GOTOOLCHAIN=auto "$go" -C tools list -m -f '{{.Dir}}' golang.org/x/vulndb)/data/osv"
# It ends with 3 when it found some. Those of the standard library are of the Go
# that builds, and only shown; of the modules, known are those that
# tools/known-vulnerabilities gives a reason for.
code=0
"$bin/govulncheck" -db "file://$db" ./... >"$db/found" || code=$?
[ "$code" = 0 ] || [ "$code" = 3 ] || { cat "$db/found" && exit "$code"; }
found() { awk -v of="^  $1" '/^Vulnerability #/ { id = $3 } $0 ~ of { print id }' "$db/found" | sort; }
found 'Standard library' >"$db/std"
found Module: >"$db/modules"
sed -n 's/^\(GO-[0-9-]*\).*/\1/p' tools/known-vulnerabilities | sort >"$db/known"
if [ -s "$db/std" ]; then
	echo "lint: a newer Go than $("$go" env GOVERSION) mends" $(cat "$db/std")
fi
if ! diff "$db/known" "$db/modules"; then
	cat "$db/found"
	echo "lint: not the vulnerabilities of tools/known-vulnerabilities" >&2
	exit 1
fi
