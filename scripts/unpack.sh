#!/usr/bin/env bash
# Unpacks packages of another suite, and what they depend on, into DIR, where
# they can be used without upgrading the libc of this machine.
#
#   scripts/unpack.sh DIR SUITE PACKAGE...
set -euo pipefail

here=$(cd "$(dirname "$0")" && pwd)
dir=$1 suite=$2
shift 2
apt=$(mktemp -d)
trap 'rm -rf "$apt" "$dir.new"' EXIT
mkdir -p "$apt"/{lists/partial,cache/archives/partial,parts}
"$here/suite-source.sh" "$suite" >"$apt/parts/newer.sources"
: >"$apt/status"
opts=(-qq -o "Dir::Etc::sourcelist=/dev/null" -o "Dir::Etc::sourceparts=$apt/parts"
	-o "Dir::State::lists=$apt/lists" -o "Dir::State::status=$apt/status"
	-o "Dir::Cache=$apt/cache" -o "APT::Sandbox::User=root"
	-o "APT::Install-Recommends=false" -o "Debug::NoLocking=true")
apt-get "${opts[@]}" update
apt-get "${opts[@]}" -y --download-only install "$@" >/dev/null
rm -rf "$dir.new"
mkdir -p "$dir.new"
for deb in "$apt"/cache/archives/*.deb; do dpkg-deb -x "$deb" "$dir.new"; done
rm -rf "$dir"
mv "$dir.new" "$dir"
