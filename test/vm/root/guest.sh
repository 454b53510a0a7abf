#!/bin/sh
# Runs /job/run with the arguments that the kernel's command line has for it, and says how
# that ended on the console, which is all that the host sees. Systemd starts this when
# Docker runs. TestReboot runs first and alone, and then once more among the others.
exec >/dev/console 2>&1
end() { # STATUS
	echo "vm: exit $1"
	sync
	echo o >/proc/sysrq-trigger
	sleep 60
}
fail() { # TEXT
	echo "vm: $1"
	systemctl --failed --no-pager
	journalctl --no-pager -o short-monotonic -u docker -u containerd -u checkpointctl-park | tail -n 60
	end 1
}

set -f
# shellcheck disable=SC2046 # they have no blanks
set -- $(sed 's/.* vm.args="\([^"]*\)".*/\1/' /proc/cmdline)
if [ -e /job/reboot ]; then
	mv /job/reboot /job/rebooted
	sync
	/job/run "$@" || end 1
	[ ! -e /job/rebooted ] || fail "TestReboot did not look at what is left"
	end 0
fi
[ ! -e /job/booted ] || fail "the kernel panicked"
touch /job/booted
sync
docker version >/dev/null || fail "Docker does not run"
cp -a /job/install/. /
case $* in
*TestReboot*)
	/job/run -test.run '^TestReboot$' || end 1
	[ -e /job/reboot ] || fail "TestReboot did not run"
	exec systemctl --no-block start reboot.target # as systemctl reboot does, without logind
	;;
esac
/job/run "$@"
end $?
