#!/usr/bin/env bash
# Runs the e2e suite in a VM with a stock Debian kernel, in software emulation.
# Arguments go to the test binary, before all to choose tests, and have no blanks:
#
#   test/vm/run.sh -test.run TestPreDump
#
# -test.skip is taken: name what to leave out by -test.notrun.
#
# CHECKPOINTCTL_VM_JOB names a disk that job.sh made, if there is one. What the
# guest prints is shown. Fails unless the guest says that all passed, and ends a
# guest that hangs.
#
# If TestReboot is among the tests, the guest boots twice: it runs what TestReboot
# does before the reboot, reboots as any host does, and runs all tests.
set -euo pipefail

here=$(cd "$(dirname "$0")" && pwd)
# What emulation is slow at is not what a machine is slow at: the tests that
# compare times run on the host only.
skip='IsAsFastAs|IsFasterThan'
# So do those that kill something at each of many moments: they take minutes
# there already. Between rounds, which there cannot be, it is done here.
skip="$skip|KillAtEveryStage|KillOfBoth|HungCRIU|KillAfterTheContainer|KillOfTheContainer|KillOfDockerd|KillOfARestore|KillOfTheRestoringCRIU"
skip="$skip|FailingCRIU|TwoRunsAtOnce|SignalsAtAnyTime|ReadOnlyStore|DiskThat"
args=()
while [ $# -gt 0 ]; do
	if [ "$1" = -test.notrun ]; then
		skip="$skip|$2"
		shift
	else
		args+=("$1")
	fi
	shift
done
limit=${CHECKPOINTCTL_VM_TIMEOUT:-35m}
vm=$("$here/build.sh")
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
job=${CHECKPOINTCTL_VM_JOB:-}
if [ -z "$job" ]; then
	job=$tmp/job.ext4
	"$here/job.sh" "$job"
fi

# One vCPU on one thread: with more, the guest panics sooner or later. One
# NVMe disk: the names of two swap from boot to boot, also on one controller. No
# KVM: it cannot be relied on where CI runs. With norandmaps QEMU translates a
# program once, not for each process anew: a third of the time. What the guest
# writes to its disks is there when it reboots, and is thrown away at the end.
TMPDIR=$tmp timeout --kill-after=10 "$limit" qemu-system-x86_64 -machine q35 -accel tcg,thread=single -cpu max -smp 1 \
	-m "${CHECKPOINTCTL_VM_MEMORY:-3G}" -nodefaults -display none -serial stdio \
	-kernel "$vm/vmlinuz" \
	-append "console=ttyS0 root=/dev/nvme0n1 rw quiet mitigations=off panic=-1 transparent_hugepage=never norandmaps TERM=dumb systemd.show_status=no systemd.service_watchdogs=no vm.args=\"-test.timeout $limit -test.skip $skip ${args[*]}\"" \
	-drive "if=none,id=d0,file=$vm/root.ext4,format=raw,cache=unsafe,snapshot=on" \
	-drive "if=none,id=d1,file=$job,format=raw,cache=unsafe,snapshot=on" \
	-device nvme,drive=d0,serial=root -device virtio-blk-pci,drive=d1 \
	</dev/null | stdbuf -oL tr -d '\r' | tee "$tmp/console" || { echo "vm: the guest did not end in $limit" >&2; exit 1; }
grep -q '=== RUN' "$tmp/console" || { echo "vm: no test ran" >&2; exit 1; }
grep -qx 'vm: exit 0' "$tmp/console" || { echo "vm: the guest did not pass" >&2; exit 1; }
