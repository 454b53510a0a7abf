#!/usr/bin/env bash
# Runs the e2e suite in a VM with a stock Debian kernel, in software emulation.
# Arguments go to the test binary, before all to choose tests:
#
#   test/vm/run.sh -test.run TestPreDump
#
# -test.skip is taken: name what to leave out by -test.notrun.
#
# What the guest prints is shown. Fails unless the guest says that all passed,
# and ends a guest that hangs.
set -euo pipefail

here=$(cd "$(dirname "$0")" && pwd)
top=$here/../..
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
go=$(command -v go || echo /usr/local/go/bin/go)
vm=$("$here/build.sh")
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT

job=$tmp/job
mkdir -p "$job/test"
cd "$top"
CGO_ENABLED=0 "$go" build -trimpath -o "$job/bin/checkpointctl" ./cmd/checkpointctl
make -s tar LIBEXEC="$job/libexec/checkpointctl"
CGO_ENABLED=0 "$go" test -tags "${CHECKPOINTCTL_VM_TAGS:-e2e}" -c -o "$job/e2e.test" ./test/e2e
# The guest has no network and no Go: it gets the images that the suite built
# on this host.
(cd test/e2e && CHECKPOINTCTL_E2E_SAVE_IMAGES=$job/images.tar "$job/e2e.test" >&2)
{
	cat <<'RUN'
#!/bin/sh
docker load -q -i /job/images.tar || exit 1
export CHECKPOINTCTL_E2E_BINARY=/job/bin/checkpointctl CHECKPOINTCTL_E2E_SLOW=10
export CHECKPOINTCTL_E2E_IMAGES=$(cat /job/images)
cd /job/test
RUN
	printf '/job/e2e.test -test.v -test.timeout %s' "$limit"
	printf ' %q' -test.skip "$skip" "${args[@]}"
	cat <<'RUN'

code=$?
[ $code = 0 ] || { echo "vm: dockerd's log and the kernel's:"; tail -n 60 /var/log/dockerd.log; dmesg | tail -n 20; }
exit $code
RUN
} >"$job/run"
chmod +x "$job/run"
cp "$job/images.tar.names" "$job/images"
size=$(du -sm "$job" | cut -f1)
mke2fs -q -t ext4 -d "$job" "$tmp/job.ext4" "$((size + size / 8 + 64))M"

cp --sparse=always "$vm/root.ext4" "$tmp/root.ext4"
# One vCPU on one thread: with more, the guest panics sooner or later. One
# NVMe disk: the names of two swap from boot to boot, also on one controller. No
# KVM: it cannot be relied on where CI runs.
timeout --kill-after=10 "$limit" qemu-system-x86_64 -machine q35 -accel tcg,thread=single -cpu max -smp 1 \
	-m "${CHECKPOINTCTL_VM_MEMORY:-3G}" -nodefaults -no-reboot -display none -serial stdio \
	-kernel "$vm/vmlinuz" \
	-append "console=ttyS0 root=/dev/nvme0n1 rw init=/init.sh quiet mitigations=off panic=-1 transparent_hugepage=never" \
	-drive "if=none,id=d0,file=$tmp/root.ext4,format=raw,cache=unsafe" \
	-drive "if=none,id=d1,file=$tmp/job.ext4,format=raw,readonly=on" \
	-device nvme,drive=d0,serial=root -device virtio-blk-pci,drive=d1 \
	</dev/null | stdbuf -oL tr -d '\r' | tee "$tmp/console" || { echo "vm: the guest did not end in $limit" >&2; exit 1; }
grep -qx 'vm: exit 0' "$tmp/console" || { echo "vm: the guest did not pass" >&2; exit 1; }
