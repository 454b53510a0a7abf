package criu

import (
	"strings"
	"testing"
)

// The lines are as CRIU 4.2 prints them, by the function named.
func TestHints(t *testing.T) {
	for _, test := range []struct{ by, line, hint string }{
		{"sk-inet.c, can_dump_inet_sk", "inet: In-flight connection (l) for 1a2b", "waits to be accepted"},
		{"sk-inet.c, can_dump_ipproto", "inet: Unsupported proto 262 for socket 1a2b", "--sysctl net.mptcp.enabled=0"},
		{"proc_parse.c, vma_get_mapfile", "Unknown shit 600 (anon_inode:[io_uring])", "io_uring"},
		{"files-reg.c, create_link_remap", "Can't create link remap for /tmp/f. Use link-remap option.", "--link-remap"},
		{"namespaces.c, generate_ns_id", "Can't dump nested uts namespace for 71", "namespace of its own"},
		{"namespaces.c, dump_task_ns_ids", "Can't dump nested time namespace for 71", "namespace of its own"},
		{"pipes.c, dump_one_pipe_data", "OOM storing pipe", "more pipes"},
		{"sk-unix.c, __dump_external_socket", "unix: Can't dump half of stream unix connection. name: (null); peer name: /host/sock", "does not help"},
		{"sk-unix.c, dump_one_unix_fd", "unix: Unix socket 71 without peer 72", "end the connection first"},
		{"sk-unix.c, __dump_external_socket", "unix: External socket is used. Consider using --ext-unix-sk option.", "datagrams only"},
		{"seize.c, seize_cgroup_tree", "zombie 71 (comm sleep) found while seizing", "try again"},
		{"cr-dump.c, dump_one_task", "A session leader of 71(12) is outside of its pid namespace", "docker exec -t"},
		{"cr-dump.c, dump_zombies", "A session leader of zombie process 71(12) is outside of its pid namespace", "docker exec -t"},
		{"proc_parse.c, parse_mountinfo", "Bad format in 71 mountinfo: '29 1 0:26 / / rw'", "fewer layers"},
		{"sk-netlink.c, can_dump_netlink_sk", "netlink: The socket has data to read", "netlink socket"},
		{"mount.c, resolve_shared_mounts", "mnt: Mount 71 ./data (master_id: 5 shared_id: 0) has unreachable sharing. Try --enable-external-masters.", "rprivate"},
		{"mount-v2.c, resolve_shared_mounts_v2", "mnt-v2: Sharing group (0, 5) has unreachable sharing. Try --enable-external-masters.", "rprivate"},
		{"pie/restorer.c, restore_aio_ring", "wrong aio: tail=0 head=0 req=32 old_nr=63 new_nr=127 expect=63", "number of CPUs"},
		{"pagemap.c, read_parent_page", "Missing 7f0000000000 in parent pagemap", "checkpointctl verify"},
		{"lsm.c, validate_lsm", "mismatched lsm types and lsm profile specified", "AppArmor"},
		{"sk-inet.c, inet_bind", "inet: Can't bind inet socket (id 3): Address already in use", "is taken"},
		{"sk-inet.c, inet_bind", "inet: Can't bind inet socket (id 3): Cannot assign requested address", "same IP again"},
		{"cr-restore.c, sigchld_process", "71 killed by signal 9: Killed", "memory"},
		{"pie/restorer.c, __export_restore_task", "Can't restore 7f0000000000 mapping with ffffffffffffffea", "refused to map"},
		{"pie/restorer.c, __export_restore_task", "Can't restore 0x7f0000000000 mapping with 0xffffffffffffffea", "refused to map"},
		{"tun.c, tunfile_open", "tun: No tun device for file tun0", "TUN"},
		{"mount.c, do_bind_mount", "mnt: Can't re-create deleted file /tmp/x: File exists", "deleted or replaced on the host"},
		{"mount.c, do_bind_mount", "mnt: Can't re-create deleted directory /tmp/x: File exists", "deleted or replaced on the host"},
		{"ipc_ns.c, prepare_ipc_shm_seg", "Failed to create shm set: File exists", "ipcrm"},
		{"ipc_ns.c, prepare_ipc_sem_desc", "Failed to create sem set: File exists", "ipcrm"},
		{"ipc_ns.c, prepare_ipc_msg_queue", "Failed to create msg set: File exists", "ipcrm"},
		{"sk-inet.c, inet_connect", "inet: Can't connect inet socket back: Network is unreachable", "same networks"},
	} {
		// What follows in a log that failed.
		log := "(00.1) Error (criu/" + test.by + "): " + test.line + "\n(00.2) Error (criu/cr-dump.c:2128): Dumping FAILED.\n"
		got, err := FirstError(strings.NewReader(log))
		if err != nil || !strings.Contains(got.Hint, test.hint) {
			t.Errorf("%s: %s: hint %q, want %q", test.by, test.line, got.Hint, test.hint)
		}
	}
}

// A hint is one line that is read at once.
func TestHintsAreShort(t *testing.T) {
	for _, m := range meanings {
		if len(m.hint) > 220 || strings.Contains(m.hint, "\n") || strings.HasSuffix(m.hint, ".") {
			t.Errorf("%s: %d bytes: %s", m.text, len(m.hint), m.hint)
		}
	}
}
