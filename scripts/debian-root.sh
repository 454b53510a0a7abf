#!/usr/bin/env bash
# Makes DIR a small Debian root of SUITE, with the packages named (separated by
# commas) and nothing that they only recommend. Arguments after that go to
# mmdebstrap, which is installed where it is missing.
#
#   scripts/debian-root.sh SUITE DIR PACKAGES [ARGUMENT...]
set -euo pipefail

here=$(cd "$(dirname "$0")" && pwd)
suite=$1 dir=$2 packages=$3
shift 3
if ! command -v mmdebstrap >/dev/null; then
	echo "debian-root: installing mmdebstrap" >&2
	apt-get update -qq
	DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends mmdebstrap >/dev/null
fi
sources=$(mktemp --suffix=.sources)
trap 'rm -f "$sources"' EXIT
"$here/suite-source.sh" "$suite" >"$sources"
# A mirror may lag behind by more than the week for which unstable is valid.
mmdebstrap --mode=root --variant=minbase --include="$packages" \
	--aptopt='APT::Install-Recommends "false"' --aptopt='Acquire::Check-Valid-Until "false"' \
	--dpkgopt='path-exclude=/usr/share/doc/*' --dpkgopt='path-exclude=/usr/share/man/*' --dpkgopt='path-exclude=/usr/share/locale/*' \
	"$@" "$suite" "$dir" "$sources" >&2
