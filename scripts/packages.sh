#!/usr/bin/env bash
# Writes a deb, an rpm and a release archive of what make install installs into dist/,
# and their SHA256SUMS. The same commit, Go and C compiler give the same bytes.
#
#   scripts/packages.sh VERSION
set -euo pipefail

cd "$(dirname "$0")/.."
version=$1
go=${GO:-$(command -v go || echo /usr/local/go/bin/go)}
export GOARCH SOURCE_DATE_EPOCH ROOT PACKAGE_VERSION
GOARCH=$("$go" env GOARCH)
SOURCE_DATE_EPOCH=${SOURCE_DATE_EPOCH:-$(git log -1 --format=%ct)}
umask 022

# v1.2.0-rc1 comes before 1.2.0, and v1.2.0-3-gabcdef after it. What has no tag comes
# before all that have one.
case $version in
v[0-9]* | [0-9]*.*) PACKAGE_VERSION=$(sed -E 's/^v//; s/-(alpha|beta|rc)/~\1/; s/-/+/; s/-/./g' <<<"$version") ;;
*) PACKAGE_VERSION=0.0.0~git$(date -u -d "@$SOURCE_DATE_EPOCH" +%Y%m%d).$(tr - . <<<"$version") ;;
esac

GOTOOLCHAIN=auto "$go" -C tools/nfpm build -o "$PWD/bin/tools/" tool
rm -rf dist
mkdir dist
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

scripts/licenses.sh >"$work/licenses"
# install makes ROOT as it would be on a machine.
install() { # PREFIX DOCDIR
	rm -rf "$ROOT"
	make -s install DESTDIR="$ROOT" PREFIX="$1" DOCDIR="$2" VERSION="$version"
	cp "$work/licenses" "$ROOT$2/THIRD-PARTY-LICENSES"
}
# settle gives everything in ROOT one time.
settle() { find "$ROOT" -exec touch -h -d "@$SOURCE_DATE_EPOCH" {} +; }

ROOT=$work/package doc=/usr/share/doc/docker-checkpointctl
for packager in deb rpm; do
	install /usr "$doc"
	gzip -9n "$ROOT"/usr/share/man/man?/*
	if [ "$packager" = deb ]; then
		mv "$ROOT/usr/share/zsh/site-functions" "$ROOT/usr/share/zsh/vendor-completions"
		mv "$ROOT$doc/LICENSE" "$ROOT$doc/copyright"
	fi
	settle
	bin/tools/nfpm package --config packaging/nfpm.yaml --packager "$packager" --target dist/
done

name=checkpointctl_${PACKAGE_VERSION}_linux_$GOARCH ROOT=$work/archive
install /usr/local /usr/local/share/doc/checkpointctl
settle
tar -C "$ROOT/usr/local" --transform "s,^\.,$name," --sort=name --owner=0 --group=0 --numeric-owner -c . | gzip -9n >"dist/$name.tar.gz"
(cd dist && sha256sum -- * >"$work/sums" && mv "$work/sums" SHA256SUMS)
