package criuimg

import (
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"

	"github.com/checkpoint-restore/go-criu/v7/crit/images/cgroup"
	"github.com/checkpoint-restore/go-criu/v7/crit/images/creds"
	criu_core "github.com/checkpoint-restore/go-criu/v7/crit/images/criu-core"
	"github.com/checkpoint-restore/go-criu/v7/crit/images/mnt"
	"github.com/checkpoint-restore/go-criu/v7/crit/images/pstree"
	"github.com/checkpoint-restore/go-criu/v7/crit/images/seccomp"
	"golang.org/x/sys/unix"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
)

// Thread is what CRIU gives to a thread when it restores it: what the image says,
// whatever its container is allowed.
type Thread struct {
	Image        string // as in core-1.img
	UIDs         []uint32
	Capabilities uint64 // of all its sets together, the bounding set too
	NoNewPrivs   bool
	Seccomp      bool // that it gets a filter, not what that lets through
	LSM          string
	Namespaces   string // told apart, not named
}

// RestoredMount is a mount that CRIU makes.
type RestoredMount struct {
	Path, FSType string
	ReadOnly     bool
	External     string // the key of what is mounted there from outside; empty for none
}

// Restored are all of these of a dump.
type Restored struct {
	Threads []Thread
	Mounts  []RestoredMount
	filters []*seccomp.SeccompFilter
	seccomp map[string]seccompOf // by the name of the thread's image

	// Odd is what no dump of a container has, and this program cannot judge.
	Odd []string
}

// ReadRestored reads the images of a dump. An error names the image that does not
// decode.
func ReadRestored(images fs.FS) (Restored, error) {
	var r Restored
	r.seccomp = map[string]seccompOf{}
	leaders := map[string]string{}
	ids, err := readIDs(images)
	if err != nil {
		return r, err
	}
	for pattern, read := range map[string]func(string, proto.Message){
		"core-*.img":        func(name string, m proto.Message) { r.thread(name, m, ids) },
		"mountpoints-*.img": r.mount,
		"cgroup.img":        r.cgroup,
		"seccomp.img": func(name string, m proto.Message) {
			if e, ok := m.(*seccomp.SeccompEntry); ok {
				r.filters = append(r.filters, e.GetSeccompFilters()...)
			}
			r.unknown(name, m, nil)
		},
		"pstree.img": func(_ string, m proto.Message) {
			if e, ok := m.(*pstree.PstreeEntry); ok {
				for _, tid := range e.GetThreads() {
					leaders[coreImage(tid)] = coreImage(e.GetPid())
				}
			}
		},
	} {
		found, err := fs.Glob(images, pattern)
		if err != nil {
			return r, err
		}
		for _, name := range found {
			if err := Decode(images, name, func(m proto.Message) error { read(name, m); return nil }); err != nil {
				return r, err
			}
		}
	}
	r.inherit(leaders)
	slices.SortFunc(r.Threads, func(a, b Thread) int { return strings.Compare(a.Image, b.Image) })
	slices.SortFunc(r.Mounts, func(a, b RestoredMount) int { return strings.Compare(a.Path, b.Path) })
	slices.Sort(r.Odd)
	return r, nil
}

func coreImage(tid uint32) string { return fmt.Sprintf("core-%d.img", tid) }

// seccompOf is what a thread's image says of its filter.
type seccompOf struct {
	said   bool   // something
	filter uint32 // the index of the last one
}

// filterAll is SECCOMP_FILTER_FLAG_TSYNC: the filter is for all threads of the
// process, whose images then say nothing of it.
const filterAll = 1

// inherit gives threads the filter of their process's first one.
func (r *Restored) inherit(leaders map[string]string) {
	for i := range r.Threads {
		t := &r.Threads[i]
		leader, known := r.seccomp[leaders[t.Image]]
		if r.seccomp[t.Image].said || !known || leaders[t.Image] == t.Image {
			continue
		}
		if n := int(leader.filter); leader.said && n < len(r.filters) && r.filters[n].GetFlags()&filterAll != 0 {
			t.Seccomp = true
		}
	}
}

// readIDs reads the namespaces of tasks, by the pid in the name of the image.
func readIDs(images fs.FS) (map[string]string, error) {
	ids := map[string]string{}
	found, err := fs.Glob(images, "ids-*.img")
	if err != nil {
		return nil, err
	}
	for _, name := range found {
		err := Decode(images, name, func(m proto.Message) error {
			if e, ok := m.(*criu_core.TaskKobjIdsEntry); ok {
				ids[strings.TrimPrefix(name, "ids-")] = namespaces(e)
			}
			return nil
		})
		if err != nil {
			return nil, err
		}
	}
	return ids, nil
}

func namespaces(e *criu_core.TaskKobjIdsEntry) string {
	return fmt.Sprint(e.GetPidNsId(), e.GetNetNsId(), e.GetIpcNsId(), e.GetUtsNsId(), e.GetMntNsId(), e.GetUserNsId(), e.GetCgroupNsId(), e.GetTimeNsId())
}

// Fields of creds_entry that CRIU has had for longer than go-criu v7.2.0
// (images/creds.proto).
const (
	noNewPrivsField = 18
	ambientField    = 19
)

func (r *Restored) thread(name string, m proto.Message, ids map[string]string) {
	e, ok := m.(*criu_core.CoreEntry)
	if !ok {
		return
	}
	if state := e.GetTc().GetTaskState(); state == taskDead || state == taskZombie {
		r.unknown(name, m, nil)
		return // it only exits: CRIU dumps and restores no privileges of it
	}
	t := Thread{Image: name, Namespaces: ids[strings.TrimPrefix(name, "core-")]}
	if e.GetIds() != nil {
		t.Namespaces = namespaces(e.GetIds())
	}
	c := e.GetThreadCore().GetCreds()
	t.UIDs = []uint32{c.GetUid(), c.GetEuid(), c.GetSuid(), c.GetFsuid()}
	t.LSM = c.GetLsmProfile()
	for _, set := range [][]uint32{c.GetCapInh(), c.GetCapPrm(), c.GetCapEff(), c.GetCapBnd()} {
		t.Capabilities |= CapabilitySet(set)
	}
	t.Capabilities |= AmbientCapabilities(c)
	t.NoNewPrivs = NoNewPrivs(c)
	const filter = criu_core.SeccompMode_filter
	t.Seccomp = e.GetThreadCore().GetSeccompMode() == filter || e.GetTc().GetOldSeccompMode() == filter
	r.seccomp[name] = seccompOf{e.GetThreadCore() != nil && e.GetThreadCore().SeccompMode != nil, e.GetThreadCore().GetSeccompFilter()}
	r.unknown(name, m, []protowire.Number{noNewPrivsField, ambientField})
	r.Threads = append(r.Threads, t)
}

// CapabilitySet is a set as the kernel counts it, of the words that an image has.
func CapabilitySet(words []uint32) (set uint64) {
	for i, word := range words[:min(len(words), 2)] {
		set |= uint64(word) << (32 * i)
	}
	return set
}

// AmbientCapabilities returns a thread's.
func AmbientCapabilities(c *creds.CredsEntry) uint64 { return CapabilitySet(newer(c, ambientField)) }

// NoNewPrivs says whether a thread has no_new_privs.
func NoNewPrivs(c *creds.CredsEntry) bool {
	nnp := newer(c, noNewPrivsField)
	return len(nnp) > 0 && nnp[0] != 0
}

// newer reads numbers of a field that the library does not know.
func newer(c *creds.CredsEntry, field protowire.Number) (list []uint32) {
	raw := c.ProtoReflect().GetUnknown()
	for len(raw) > 0 {
		number, kind, n := protowire.ConsumeTag(raw)
		if n < 0 {
			return nil
		}
		raw = raw[n:]
		size := protowire.ConsumeFieldValue(number, kind, raw)
		if size < 0 {
			return nil
		}
		if v, n := protowire.ConsumeVarint(raw); number == field && kind == protowire.VarintType && n > 0 {
			list = append(list, uint32(v))
		}
		raw = raw[size:]
	}
	return list
}

func (r *Restored) mount(name string, m proto.Message) {
	e, ok := m.(*mnt.MntEntry)
	if !ok {
		return
	}
	kind := strings.ToLower(mnt.Fstype(e.GetFstype()).String())
	if e.GetFsname() != "" {
		kind = e.GetFsname()
	}
	r.Mounts = append(r.Mounts, RestoredMount{
		Path: path.Join("/", e.GetMountpoint()), FSType: kind, External: e.GetExtKey(),
		ReadOnly: e.GetFlags()&unix.MS_RDONLY != 0 || e.GetSbFlags()&unix.MS_RDONLY != 0,
	})
	if e.GetWithPlugin() {
		r.Odd = append(r.Odd, fmt.Sprintf("%s: %s is mounted by a plugin of CRIU", name, e.GetMountpoint()))
	}
	r.unknown(name, m, nil)
}

// cgroup looks for names that lead out of the container's groups.
func (r *Restored) cgroup(name string, m proto.Message) {
	e, ok := m.(*cgroup.CgroupEntry)
	if !ok {
		return
	}
	bad := func(path string) {
		if slices.Contains(strings.Split(path, "/"), "..") {
			r.Odd = append(r.Odd, fmt.Sprintf("%s: group %q", name, path))
		}
	}
	var walk func([]*cgroup.CgroupDirEntry)
	walk = func(dirs []*cgroup.CgroupDirEntry) {
		for _, d := range dirs {
			bad(d.GetDirName())
			walk(d.GetChildren())
		}
	}
	for _, s := range e.GetSets() {
		for _, c := range s.GetCtls() {
			bad(c.GetPath())
		}
	}
	for _, c := range e.GetControllers() {
		walk(c.GetDirs())
	}
	r.unknown(name, m, nil)
}

// newerRegisters are of the processor, and give a task no privilege: shadow stacks (CET) and
// pointer authentication. CRIU 4.2 writes them where the processor has them, and go-criu 7.2
// does not know them (images/core-x86.proto, core-aarch64.proto).
var newerRegisters = map[protoreflect.Name]protowire.Number{"user_x86_xsave_entry": 9, "thread_info_aarch64": 5}

// unknown notes fields that the library does not know, but for registers and, of
// credentials, for those given.
func (r *Restored) unknown(name string, m proto.Message, ofCreds []protowire.Number) {
	var walk func(protoreflect.Message)
	walk = func(m protoreflect.Message) {
		raw := []byte(m.GetUnknown())
		for len(raw) > 0 {
			number, kind, n := protowire.ConsumeTag(raw)
			size := -1
			if n >= 0 {
				size = protowire.ConsumeFieldValue(number, kind, raw[n:])
			}
			if size < 0 {
				break
			}
			raw = raw[n+size:]
			if _, isCreds := m.Interface().(*creds.CredsEntry); isCreds && slices.Contains(ofCreds, number) {
				continue
			}
			if newerRegisters[m.Descriptor().Name()] == number {
				continue
			}
			r.Odd = append(r.Odd, fmt.Sprintf("%s: %s has a field %d that is not known", name, m.Descriptor().Name(), number))
		}
		m.Range(func(f protoreflect.FieldDescriptor, v protoreflect.Value) bool {
			if f.Message() == nil || f.IsMap() {
				return true
			}
			if !f.IsList() {
				walk(v.Message())
				return true
			}
			for i := range v.List().Len() {
				walk(v.List().Get(i).Message())
			}
			return true
		})
	}
	walk(m.ProtoReflect())
}
