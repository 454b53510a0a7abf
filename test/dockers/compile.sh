#!/usr/bin/env bash
# Builds a Docker that Debian does not have, from the sources that Go's module
# proxy has of it, and Go's checksum database vouches for. Prints the directory
# that is to lie over a root of build.sh. It is kept and used again until this
# script changes.
#
#   test/dockers/compile.sh 25|27|29
set -euo pipefail

here=$(cd "$(dirname "$0")" && pwd)
name=$1
cache=${CHECKPOINTCTL_DOCKERS_CACHE:-/var/cache/checkpointctl}
dir=$cache/compiled-$name-$(sha256sum <"$0" | cut -c1-12)
mkdir -p "$cache"
exec 9>"$cache/compiled-$name.lock"
flock 9
if [ -d "$dir" ]; then
	echo "$dir"
	exit 0
fi

go=$(command -v go || echo /usr/local/go/bin/go)
tmp=$(mktemp -d "$cache/build-XXXXXX")
trap 'rm -rf "$tmp"' EXIT
bin=$tmp/root/usr/local/bin
mkdir -p "$bin"
chmod 755 "$tmp/root"
export GOTOOLCHAIN=auto GOFLAGS='-trimpath -buildvcs=false -mod=mod' CGO_ENABLED=0

# A module names the versions of what it needs; Docker before 29 does so in a
# file of another name.
build() { # MODULE VERSION FLAGS PACKAGE...
	local source=$tmp/source flags=$3
	echo "dockers: building $1 $2" >&2
	cp -r "$("$go" mod download -json "$1@$2" | sed -n 's/^\t"Dir": "\(.*\)",$/\1/p')" "$source"
	chmod -R u+w "$source"
	if [ ! -f "$source/go.mod" ]; then
		mv "$source/vendor.mod" "$source/go.mod"
		mv "$source/vendor.sum" "$source/go.sum"
	fi
	(cd "$source" && "$go" build -ldflags "-s -w $flags" -o "$bin/" "${@:4}") >&2
	rm -rf "$source"
}

# runc is C in part, and filters system calls.
runc() { # VERSION
	# shellcheck disable=SC1091 # every machine's own
	"$here/../../scripts/unpack.sh" "$tmp/seccomp" "$(. /etc/os-release && echo "$VERSION_CODENAME")" libseccomp-dev
	export PKG_CONFIG_SYSROOT_DIR=$tmp/seccomp PKG_CONFIG_LIBDIR
	PKG_CONFIG_LIBDIR=$(dirname "$(find "$tmp/seccomp" -name libseccomp.pc)")
	CGO_ENABLED=1 GOFLAGS="$GOFLAGS -tags=seccomp,netgo,osusergo" build github.com/opencontainers/runc "v$1" "-X main.version=$1 -extldflags -static" .
}

case $name in
25 | 27)
	declare -A version=([25]=25.0.6 [27]=27.5.0)
	build github.com/docker/docker "v${version[$name]}+incompatible" \
		"-X github.com/docker/docker/dockerversion.Version=${version[$name]}" ./cmd/dockerd ./cmd/docker-proxy
	[ "$name" != 25 ] || runc 1.2.6
	;;
29)
	# Docker 29 is a beta of moby's module.
	build github.com/moby/moby/v2 v2.0.0-beta.24 "-X github.com/moby/moby/v2/dockerversion.Version=29.0.0-beta.24" ./cmd/dockerd ./cmd/docker-proxy
	build github.com/containerd/containerd/v2 v2.2.9 "-X github.com/containerd/containerd/v2/version.Version=2.2.9" \
		./cmd/containerd ./cmd/containerd-shim-runc-v2
	runc 1.4.3
	;;
*) echo "usage: $0 25|27|29" >&2; exit 2 ;;
esac
rm -rf "$cache/compiled-$name"-* # older ones
mv "$tmp/root" "$dir"
echo "$dir"
