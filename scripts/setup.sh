#!/usr/bin/env bash
# Installs what checkpointctl needs and this machine lacks: Docker, a CRIU that
# works on the running kernel, Go. Starts the daemon, builds, and runs one
# checkpoint and restore. Docker's configuration stays as it is. Idempotent; asks
# nothing.
#
#   scripts/setup.sh            everything
#   scripts/setup.sh --no-smoke all but the closing checkpoint and restore
set -euo pipefail

prefix=/usr/local/lib/checkpointctl
newer_suite=${CHECKPOINTCTL_SETUP_SUITE:-trixie}
newest_suite=sid
top=$(cd "$(dirname "$0")/.." && pwd)
smoke=yes
case "${1-}" in
--no-smoke) smoke=no ;;
'') ;;
*) echo "usage: $0 [--no-smoke]" >&2; exit 2 ;;
esac

say() { printf 'setup: %s\n' "$*" >&2; }
die() { printf 'setup: error: %s\n' "$*" >&2; exit 1; }
have() { command -v "$1" >/dev/null 2>&1; }

[ "$(id -u)" = 0 ] || die "must run as root"
have apt-get || die "this script knows Debian and Ubuntu only; install Docker, CRIU 4 and Go 1.24 by hand"
export DEBIAN_FRONTEND=noninteractive

updated=no
apt_install() {
	[ "$updated" = yes ] || { say "apt-get update"; apt-get update -qq; updated=yes; }
	say "installing $*"
	apt-get install -qq -y --no-install-recommends "$@" >/dev/null
}

setup_docker() {
	if ! have dockerd; then
		apt_install docker.io iptables
	fi
	# A docker client may be there without an engine; what the tests use is the API.
	have docker || apt_install docker.io
	have iptables || apt_install iptables
}

at_least() { [ "$(printf '%s\n%s\n' "$1" "$2" | sort -V | head -n 1)" = "$2" ]; }

# criu_fit says whether a criu works on the running kernel. From Linux 6.16 on
# SO_PASSCRED is for unix sockets only, and CRIU before 4.2 asks TCP sockets
# for it; `criu check` does not notice.
criu_fit() {
	[ -x "$1" ] && "$1" check >/dev/null 2>&1 || return 1
	! at_least "$(uname -r | cut -d- -f1)" 6.16 || at_least "$("$1" --version | awk '/^Version/{print $2}')" 4.2
}

setup_criu() {
	local c
	c=$(command -v criu || true)
	if [ -n "$c" ] && criu_fit "$c"; then
		say "criu: $c $("$c" --version | awk '/^Version/{print $2}') works on this kernel"
		return
	fi
	if [ -z "$c" ] && apt-cache policy criu 2>/dev/null | grep -q 'Candidate: [4-9]'; then
		apt_install criu
		criu_fit "$(command -v criu)" && return
	fi
	local suite
	for suite in "$newer_suite" "$newest_suite"; do
		say "criu: no fit one for kernel $(uname -r); unpacking $suite's under $prefix"
		"$top/scripts/install-criu.sh" "$suite"
		hash -r
		if criu_fit /usr/local/sbin/criu; then
			say "criu: $(/usr/local/sbin/criu --version | awk '/^Version/{print $2}') installed as /usr/local/sbin/criu"
			return
		fi
	done
	/usr/local/sbin/criu check >&2 || true
	die "no CRIU works on kernel $(uname -r)"
}

go_fit() {
	local v
	v=$("$1" env GOVERSION 2>/dev/null) || return 1
	at_least "${v#go}" 1.24
}

setup_go() {
	local g
	for g in "$(command -v go || true)" /usr/local/go/bin/go "$prefix/golang/usr/lib/go-1.24/bin/go"; do
		if [ -n "$g" ] && go_fit "$g"; then
			PATH=$(dirname "$g"):$PATH
			return
		fi
	done
	say "go: none of 1.24 or newer; unpacking $newer_suite's under $prefix"
	"$top/scripts/unpack.sh" "$prefix/golang" "$newer_suite" golang-1.24-go golang-1.24-src
	# Debian's GOROOT links to /usr/share/go-1.24, which is under the prefix here.
	for g in "$prefix"/golang/usr/lib/go-1.24/*; do
		[ -L "$g" ] && case $(readlink "$g") in ../../share/*|/usr/share/*) ln -sfn "../../share/go-1.24/$(basename "$g")" "$g" ;; esac
	done
	ln -sfn "$prefix/golang/usr/lib/go-1.24/bin/go" /usr/local/bin/go
	PATH=$prefix/golang/usr/lib/go-1.24/bin:$PATH
	go_fit go || die "go does not work"
}

docker_up() { docker version --format '{{.Server.Version}}' >/dev/null 2>&1; }

start_docker() {
	if docker_up; then
		say "docker: $(docker version --format '{{.Server.Version}}') is running"
		return
	fi
	if [ -d /run/systemd/system ]; then
		say "docker: starting by systemd"
		systemctl start docker
	else
		say "docker: starting dockerd (log in /var/log/dockerd.log)"
		mkdir -p /run /var/log
		setsid dockerd </dev/null >>/var/log/dockerd.log 2>&1 &
	fi
	local i
	for i in $(seq 120); do
		docker_up && break
		sleep 0.5
	done
	docker_up || { tail -n 20 /var/log/dockerd.log >&2 || true; die "dockerd does not answer"; }
	say "docker: $(docker version --format '{{.Server.Version}}') is running"
}

setup_docker
setup_criu
setup_go
have gcc || apt_install gcc libc6-dev
if [ "$smoke" = no ]; then # for tests
	have gdb || apt_install gdb
	have podman || apt_install podman netavark
fi
start_docker
if [ -f "$top/go.mod" ]; then
	say "building"
	make -C "$top" build >&2
	if [ "$smoke" = yes ]; then
		have busybox || apt_install busybox-static
		say "checkpointing and restoring a container"
		"$top/scripts/demo.sh" --no-setup >&2
	fi
fi
say "done"
