package criuimg

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/checkpoint-restore/go-criu/v7/crit/images/cgroup"
	core_aarch64 "github.com/checkpoint-restore/go-criu/v7/crit/images/core-aarch64"
	core_x86 "github.com/checkpoint-restore/go-criu/v7/crit/images/core-x86"
	"github.com/checkpoint-restore/go-criu/v7/crit/images/creds"
	criu_core "github.com/checkpoint-restore/go-criu/v7/crit/images/criu-core"
	"github.com/checkpoint-restore/go-criu/v7/crit/images/mnt"
	"github.com/checkpoint-restore/go-criu/v7/crit/images/pstree"
	"github.com/checkpoint-restore/go-criu/v7/crit/images/seccomp"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
)

// credentials have fields that the library does not know.
func credentials(more ...uint32) *creds.CredsEntry {
	n := proto.Uint32(7)
	c := &creds.CredsEntry{Uid: n, Gid: n, Euid: n, Egid: n, Suid: n, Sgid: n, Fsuid: proto.Uint32(0), Fsgid: n, Secbits: n, CapBnd: []uint32{1, 2}, LsmProfile: proto.String("docker-default")}
	var raw []byte
	for i := 0; i < len(more); i += 2 {
		raw = protowire.AppendVarint(protowire.AppendTag(raw, protowire.Number(more[i]), protowire.VarintType), uint64(more[i+1]))
	}
	c.ProtoReflect().SetUnknown(raw)
	return c
}

func thread(c *creds.CredsEntry, filtered bool) *criu_core.CoreEntry {
	e := &criu_core.CoreEntry{
		Mtype:      criu_core.CoreEntry_X86_64.Enum(),
		ThreadCore: &criu_core.ThreadCoreEntry{FutexRla: proto.Uint64(0), FutexRlaLen: proto.Uint32(0), Creds: c},
	}
	if filtered {
		e.ThreadCore.SeccompMode, e.ThreadCore.SeccompFilter = criu_core.SeccompMode_filter.Enum(), proto.Uint32(0)
	}
	return e
}

func TestReadRestored(t *testing.T) {
	one := proto.Uint32(1)
	// Its parent has not waited for it: CRIU dumps its exit status alone.
	zombie := &criu_core.CoreEntry{Mtype: criu_core.CoreEntry_X86_64.Enum(), Tc: &criu_core.TaskCoreEntry{
		TaskState: proto.Uint32(taskDead), ExitCode: one, Personality: one, Flags: one, BlkSigset: proto.Uint64(0), Comm: proto.String("z"),
	}}
	images := func(flags uint32) map[string][]byte {
		return map[string][]byte{
			"core-1.img":  slices.Concat(head("CORE"), frame(t, thread(credentials(noNewPrivsField, 1, ambientField, 4, ambientField, 0), true), 0)),
			"core-2.img":  slices.Concat(head("CORE"), frame(t, thread(credentials(), false), 0)),
			"core-5.img":  slices.Concat(head("CORE"), frame(t, thread(credentials(99, 1), true), 0)),
			"core-8.img":  slices.Concat(head("CORE"), frame(t, zombie, 0)),
			"pstree.img":  slices.Concat(head("PSTREE"), frame(t, &pstree.PstreeEntry{Pid: one, Ppid: proto.Uint32(0), Pgid: one, Sid: one, Threads: []uint32{1, 2}}, 0)),
			"seccomp.img": slices.Concat(head("SECCOMP"), frame(t, &seccomp.SeccompEntry{SeccompFilters: []*seccomp.SeccompFilter{{Filter: []byte("12345678"), Flags: &flags}}}, 0)),
			"mountpoints-9.img": slices.Concat(head("MNTS"), frame(t, &mnt.MntEntry{
				Fstype: proto.Uint32(uint32(mnt.Fstype_PROC)), MntId: one, RootDev: one, ParentMntId: one, Flags: one, Root: proto.String("/sys"),
				Mountpoint: proto.String("./proc/sys"), Source: proto.String(""), Options: proto.String(""), ExtKey: proto.String("key"),
			}, 0)),
			"cgroup.img": slices.Concat(head("CGROUP"), frame(t, &cgroup.CgroupEntry{
				Sets:        []*cgroup.CgSetEntry{{Id: one, Ctls: []*cgroup.CgMemberEntry{{Name: proto.String("pids"), Path: proto.String("/docker/../up")}}}},
				Controllers: []*cgroup.CgControllerEntry{{Dirs: []*cgroup.CgroupDirEntry{{DirName: proto.String("a/b")}}}},
			}, 0)),
		}
	}
	for _, all := range []bool{false, true} {
		dir := t.TempDir()
		flags := uint32(0)
		if all {
			flags = filterAll
		}
		for name, data := range images(flags) {
			if err := os.WriteFile(filepath.Join(dir, name), data, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		r, err := ReadRestored(Dir(dir))
		if err != nil {
			t.Fatal(err)
		}
		if len(r.Threads) != 3 {
			t.Fatalf("threads: %+v", r.Threads)
		}
		first, second := r.Threads[0], r.Threads[1]
		if !first.NoNewPrivs || !first.Seccomp || first.Capabilities != 1|2<<32|4 || first.LSM != "docker-default" || !slices.Contains(first.UIDs, 0) {
			t.Errorf("first: %+v", first)
		}
		// A thread without a filter of its own has the first one's only if that is for all.
		if second.Seccomp != all || second.NoNewPrivs || second.Capabilities != 1|2<<32 {
			t.Errorf("second: %+v, the filter is for all: %v", second, all)
		}
		if m := r.Mounts; len(m) != 1 || m[0] != (RestoredMount{Path: "/proc/sys", FSType: "proc", ReadOnly: true, External: "key"}) {
			t.Errorf("mounts: %+v", m)
		}
		if odd := strings.Join(r.Odd, "; "); odd != `cgroup.img: group "/docker/../up"; core-5.img: creds_entry has a field 99 that is not known` {
			t.Errorf("odd: %s", odd)
		}
	}
}

// A processor may have registers that the library does not know.
func TestNewerRegisters(t *testing.T) {
	for _, of := range []struct {
		registers proto.Message
		field     protowire.Number
		odd       int
	}{{&core_x86.UserX86XsaveEntry{}, 9, 0}, {&core_x86.UserX86XsaveEntry{}, 10, 1}, {&core_aarch64.ThreadInfoAarch64{}, 5, 0}} {
		of.registers.ProtoReflect().SetUnknown(protowire.AppendBytes(protowire.AppendTag(nil, of.field, protowire.BytesType), []byte("state")))
		r := Restored{}
		if r.unknown("core-1.img", of.registers, nil); len(r.Odd) != of.odd {
			t.Errorf("%T, field %d: %q", of.registers, of.field, r.Odd)
		}
	}
}

// Whatever images hold, they are read or named.
func FuzzReadRestored(f *testing.F) {
	f.Add(head("CORE"))
	f.Fuzz(func(t *testing.T, data []byte) {
		dir := t.TempDir()
		for _, name := range []string{"core-1.img", "seccomp.img"} {
			if err := os.WriteFile(filepath.Join(dir, name), data, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		if _, err := ReadRestored(Dir(dir)); err != nil && !strings.Contains(err.Error(), ".img: ") {
			t.Errorf("got %v", err)
		}
	})
}
