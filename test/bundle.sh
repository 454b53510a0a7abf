#!/usr/bin/env bash
# Puts into DIR what the e2e suite needs where there are no sources, no Go and
# no apt: checkpointctl, the test binary, the documents whose commands it runs, and the
# images, which the suite makes on this host.
#
#   test/bundle.sh DIR
set -euo pipefail

mkdir -p "$1"
dir=$(cd "$1" && pwd)
cd "$(dirname "$0")/.."
go=$(command -v go || echo /usr/local/go/bin/go)
CGO_ENABLED=0 "$go" build -trimpath -o "$dir/bin/checkpointctl" ./cmd/checkpointctl
make -s tar runtime LIBEXEC="$dir/libexec/checkpointctl"
CGO_ENABLED=0 "$go" test -tags "${CHECKPOINTCTL_E2E_TAGS:-e2e}" -c -o "$dir/e2e.test" ./test/e2e
mkdir -p "$dir/documents"
cp -r README.md docs configs "$dir/documents"
cd test/e2e
PATH=$(dirname "$go"):$PATH CHECKPOINTCTL_E2E_SAVE_IMAGES=$dir/images.tar "$dir/e2e.test" >&2
