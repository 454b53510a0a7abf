#!/bin/sh
# Before the files go for good. dpkg calls it with "remove", rpm with the number of
# versions that stay.
set -e
case $1 in
remove | 0) ;;
*) exit 0 ;;
esac
# Docker could not start containers with a runtime that has gone. This fails, and says
# which they are, if there are some.
if grep -qs checkpointctl-runtime /etc/docker/daemon.json; then
	/usr/bin/checkpointctl runtime uninstall
fi
if [ -d /run/systemd/system ]; then
	systemctl list-units --all --plain --no-legend 'checkpointctl@*.timer' | while read -r timer _; do
		systemctl disable --now "$timer" || true
	done
	# A stop would park containers, and nothing would be left to restore them.
	systemctl disable checkpointctl-park.service || true
fi
