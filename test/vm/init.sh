#!/bin/sh
# Init of the VM: makes the machine ready for Docker, runs /job/run with its own
# arguments and says how that ended on the console, which is all that the host
# sees.
export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin HOME=/root
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t devtmpfs dev /dev 2>/dev/null
mkdir -p /dev/pts /dev/shm /dev/mqueue
mount -t devpts -o gid=5,mode=620,ptmxmode=666 devpts /dev/pts
mount -t tmpfs -o mode=1777 shm /dev/shm
mount -t mqueue mqueue /dev/mqueue
mount -t tmpfs -o mode=755 run /run
mount -t tmpfs -o mode=1777 tmp /tmp
mount -t cgroup2 cgroup2 /sys/fs/cgroup
# The root of cgroup v2 gives its controllers on only when no process is in it.
mkdir /sys/fs/cgroup/init
echo 1 >/sys/fs/cgroup/init/cgroup.procs
sed 's/\([a-z_0-9]*\)/+\1/g' /sys/fs/cgroup/cgroup.controllers >/sys/fs/cgroup/cgroup.subtree_control
ip link set lo up
hostname vm
echo 1 >/proc/sys/net/ipv4/ip_forward
for m in overlay veth bridge br_netfilter tun nf_tables nft_compat nf_nat xt_MASQUERADE xt_addrtype xt_conntrack inet_diag tcp_diag udp_diag unix_diag netlink_diag af_packet_diag; do
	modprobe -q "$m"
done
mkdir -p /job
modprobe -q virtio_pci
modprobe -q virtio_blk
mount /dev/vda /job

mkdir -p /etc/docker
echo '{"data-root": "/job/docker"}' >/etc/docker/daemon.json
dockerd >/var/log/dockerd.log 2>&1 &
dockerd=$!
for i in $(seq 300); do
	docker version >/dev/null 2>&1 && break
	sleep 0.3
done
docker version >/dev/null 2>&1 || tail -n 30 /var/log/dockerd.log
# The second boot goes on with a test of the first, or is the end of a panic.
if [ -e /job/rebooted ]; then
	set -- -test.run '^TestReboot$'
elif [ -e /job/booted ]; then
	echo "vm: the kernel panicked"
	echo o >/proc/sysrq-trigger
	sleep 60
fi
touch /job/booted
sync
/job/run "$@"
code=$?
if [ $code = 0 ] && [ -e /job/reboot ]; then
	mv /job/reboot /job/rebooted
	kill $dockerd
	wait $dockerd
	sync
	echo b >/proc/sysrq-trigger
	sleep 60
fi
echo "vm: exit $code"
sync
echo o >/proc/sysrq-trigger
sleep 60
