#!/usr/bin/env bash
# What run.sh starts in new namespaces, as their first process: enters the
# groups, puts the root together, starts dockerd in it, and runs the tests.
#
#   test/dockers/inside.sh join GROUP NAME ROOT WORK BUNDLE [ARGUMENT...]
set -euo pipefail

# A namespace shows the hierarchies from the group down that made it.
join() { # GROUP ARGUMENT...
	local h
	for h in $(findmnt -rn -o TARGET -t cgroup,cgroup2); do echo 0 >"$h/$1/cgroup.procs"; done
	shift
	exec unshare --cgroup "$0" enter "$@"
}

enter() { # NAME ROOT WORK BUNDLE ARGUMENT...
	local name=$1 root=$2 work=$3 bundle=$4 new=$3/root store=false
	shift 4
	mkdir "$new" "$work"/{upper,overlay,docker,tmp}
	chmod 1777 "$work/tmp"
	mount -t overlay -o "lowerdir=$root,upperdir=$work/upper,workdir=$work/overlay" overlay "$new"
	mkdir -p "$new"/{e2e,host,lib/modules,var/lib/docker,etc/docker}
	# Docker's overlay2 cannot lie on an overlay.
	mount --bind "$work/docker" "$new/var/lib/docker"
	mount --bind "$work/tmp" "$new/tmp"
	mount --bind "$bundle" "$new/e2e"
	if [ -d /lib/modules ]; then mount --bind /lib/modules "$new/lib/modules"; fi
	mount -t tmpfs -o mode=755 run "$new/run"
	mount -t proc proc "$new/proc"
	# The host's shows the host's network. No securityfs in it: AppArmor's
	# profiles are the host's.
	mount -t sysfs sys "$new/sys"
	mount --bind /dev "$new/dev"
	mount -t devpts -o newinstance,gid=5,mode=620,ptmxmode=666 devpts "$new/dev/pts"
	mount -t tmpfs -o mode=1777 shm "$new/dev/shm"
	[ ! -d "$new/dev/mqueue" ] || mount -t mqueue mqueue "$new/dev/mqueue"
	cgroups "$name" "$new/sys/fs/cgroup"

	ip link set lo up
	echo 1 >/proc/sys/net/ipv4/ip_forward
	hostname dockers
	case $name in
	28-containerd | 29) store=true ;; # 29's default
	esac
	echo "{\"features\": {\"containerd-snapshotter\": $store}}" >"$new/etc/docker/daemon.json"
	cp "$0" "$new/usr/local/sbin/inside"
	cd "$new"
	pivot_root . host
	# tini takes over what loses its parent.
	exec chroot . env -i PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin HOME=/root \
		CHECKPOINTCTL_E2E_ARCHIVES="${CHECKPOINTCTL_E2E_ARCHIVES:-}" CHECKPOINTCTL_E2E_SAVE_ARCHIVES="${CHECKPOINTCTL_E2E_SAVE_ARCHIVES:-}" \
		sh -c 'umount -l /host && mount --make-rshared / && exec tini -- inside tests "$@"' sh "$name" "$@" </dev/null
}

# The hierarchies that this machine has, or cgroup v2 alone.
cgroups() { # NAME DIRECTORY
	local name=$1 controllers dir c
	shift
	if [ "$name" = 28-cgroup2 ] || ! grep -qv '^0:' /proc/self/cgroup; then
		mount -t cgroup2 cgroup2 "$1"
		# A group gives its controllers on only when no process is in it.
		mkdir "$1/init"
		echo 0 >"$1/init/cgroup.procs"
		sed 's/\([a-z_0-9]*\)/+\1/g' "$1/cgroup.controllers" >"$1/cgroup.subtree_control"
		return
	fi
	mount -t tmpfs -o mode=755 cgroup "$1"
	while IFS=: read -r _ controllers _; do
		dir=$1/${controllers#name=}
		case $controllers in
		'') mkdir "$1/unified" && mount -t cgroup2 cgroup2 "$1/unified" ;;
		name=*) mkdir "$dir" && mount -t cgroup -o "none,$controllers" cgroup "$dir" ;;
		*)
			mkdir "$dir"
			mount -t cgroup -o "$controllers" cgroup "$dir"
			for c in ${controllers//,/ }; do [ -e "$1/$c" ] || ln -s "$controllers" "$1/$c"; done
			;;
		esac
	done </proc/self/cgroup
}

tests() { # NAME ARGUMENT...
	local name=$1 dockerd code=0
	shift
	dockerd >/var/log/dockerd.log 2>&1 &
	dockerd=$!
	for _ in $(seq 600); do
		! docker version >/dev/null 2>&1 || break
		kill -0 "$dockerd" || break
		sleep 0.1
	done
	docker version >/dev/null || { tail -n 40 /var/log/dockerd.log >&2; exit 1; }
	docker load -q -i /e2e/images.tar >/dev/null
	# Unstable moves on: say what is tested.
	echo "dockers: $name is Docker $(docker version -f '{{.Server.Version}}') ($(docker info -f '{{.Driver}}'))," \
		"$(runc --version | head -n 1), CRIU $(criu --version | sed -n 's/Version: //p')" >&2
	CHECKPOINTCTL_E2E_IMAGES=$(cat /e2e/images.tar.names)
	export CHECKPOINTCTL_E2E_IMAGES CHECKPOINTCTL_E2E_BINARY=/e2e/bin/checkpointctl
	cp -r /e2e/documents /root/documents
	mkdir -p /root/documents/test/e2e
	cd /root/documents/test/e2e
	/e2e/e2e.test -test.v=test2json "$@" || code=$?
	if [ "$code" != 0 ]; then
		echo "dockers: the end of dockerd's log:" >&2
		tail -n 40 /var/log/dockerd.log >&2
	fi
	exit "$code"
}

"$@"
