#!/usr/bin/env bash
# Runs tests of the bundle that CHECKPOINTCTL_DOCKERS_BUNDLE names with the host's own
# Docker, as run.sh does with others. Arguments go to the test binary.
#
#   test/dockers/host.sh [ARGUMENT...]
set -euo pipefail

cd "$(dirname "$0")/../e2e"
bundle=$CHECKPOINTCTL_DOCKERS_BUNDLE
CHECKPOINTCTL_E2E_IMAGES=$(cat "$bundle/images.tar.names")
export CHECKPOINTCTL_E2E_IMAGES CHECKPOINTCTL_E2E_BINARY=$bundle/bin/checkpointctl
exec "$bundle/e2e.test" -test.v=test2json "$@"
