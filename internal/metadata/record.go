// Package metadata stores checkpoints and what is known about them.
package metadata

import (
	"fmt"
	"net/netip"
	"time"
)

// RecordFile is written last into a checkpoint: no record, no checkpoint.
const RecordFile = "container.json"

// SchemaVersion is what this program writes. Keys are only ever added to it.
// Version 2 added parts, and reads those of version 1, which have memory alone.
const SchemaVersion = 2

// Container is what was known of a container before its dump.
type Container struct {
	ID          string    `json:"id"`
	Name        string    `json:"name"`
	PID         int       `json:"pid"`
	StartedAt   time.Time `json:"started_at"`
	State       string    `json:"state"`
	Image       string    `json:"image"`
	ImageDigest string    `json:"image_digest"`
	// ImageLayers are the image's diff_ids; nil in older records.
	ImageLayers []string          `json:"image_layers,omitempty"`
	Labels      map[string]string `json:"labels,omitempty"`
	Driver      string            `json:"driver"`
	RootFS      string            `json:"rootfs"`
	UpperDir    string            `json:"upper_dir,omitempty"`
	Runtime     string            `json:"runtime"`
	BundlePath  string            `json:"bundle_path"`
	CgroupMode  string            `json:"cgroup_mode"`
	CgroupPath  string            `json:"cgroup_path"`
	Cgroups     []Cgroup          `json:"cgroups"`
	Namespaces  []Namespace       `json:"namespaces"`
	Networks    []Network         `json:"networks"`
	Mounts      []Mount           `json:"mounts"`
	// Settings are nil in older records.
	Settings *Settings `json:"settings,omitempty"`
}

// Settings are what the container was created with: see internal/docker.
type Settings struct {
	Hostname    string         `json:"hostname"`
	User        string         `json:"user"`
	CapAdd      []string       `json:"cap_add,omitempty"`
	CapDrop     []string       `json:"cap_drop,omitempty"`
	Privileged  bool           `json:"privileged"`
	ReadOnly    bool           `json:"read_only"`
	TTY         bool           `json:"tty"`
	Init        bool           `json:"init"`
	PIDMode     string         `json:"pid_mode"`
	IPCMode     string         `json:"ipc_mode"`
	UTSMode     string         `json:"uts_mode"`
	NetworkMode string         `json:"network_mode"`
	Ports       []string       `json:"ports,omitempty"` // as in 127.0.0.1:8080->80/tcp
	Mounts      []MountSetting `json:"mounts,omitempty"`
}

// MountSetting is a mount that the user or the image asked for.
type MountSetting struct {
	Type        string `json:"type"`
	Destination string `json:"destination"`
	Source      string `json:"source,omitempty"`
	Name        string `json:"name,omitempty"` // of a volume
	ReadOnly    bool   `json:"read_only"`
}

// Cgroup is one line of /proc/PID/cgroup.
type Cgroup struct {
	Controllers string `json:"controllers"` // empty for cgroup v2
	Path        string `json:"path"`
}

// Namespace is one link of /proc/PID/ns.
type Namespace struct {
	Type       string `json:"type"`
	Inode      uint64 `json:"inode"`
	SharedWith string `json:"shared_with,omitempty"` // host, or container:ID
}

// Network is an attachment to a Docker network.
type Network struct {
	Name string `json:"name"`
	IP   string `json:"ip"`
	IPv6 string `json:"ipv6,omitempty"`
	MAC  string `json:"mac"`
}

// Connection is an entry of the host's connection tracking: see
// internal/linux/conntrack, which has the same fields.
type Connection struct {
	Protocol         string         `json:"protocol"`
	Source           netip.AddrPort `json:"source"`
	Destination      netip.AddrPort `json:"destination"`
	ReplySource      netip.AddrPort `json:"reply_source"`
	ReplyDestination netip.AddrPort `json:"reply_destination"`
	Status           uint32         `json:"status"`
	TimeoutSeconds   uint32         `json:"timeout_s"`
	Mark             uint32         `json:"mark,omitempty"`
	Zone             uint16         `json:"zone,omitempty"`
	State            uint8          `json:"state,omitempty"`
	Flags            uint8          `json:"flags,omitempty"`
	ReplyFlags       uint8          `json:"reply_flags,omitempty"`
	WindowScale      uint8          `json:"window_scale,omitempty"`
	ReplyWindowScale uint8          `json:"reply_window_scale,omitempty"`
}

// ProxiedConnection is one that docker-proxy relays, from its end to the
// container's. It cannot be restored.
type ProxiedConnection struct {
	Peer    netip.AddrPort `json:"peer"`
	Address netip.AddrPort `json:"address"`
}

// Tuning is how the kernel treats a thread: see internal/linux/tasks, which has the same
// fields.
type Tuning struct {
	Thread         int    `json:"thread"`
	CPUs           string `json:"cpus,omitempty"`
	IOPriority     int    `json:"io_priority,omitempty"`
	TimerSlackNS   int    `json:"timer_slack_ns,omitempty"`
	CoredumpFilter string `json:"coredump_filter,omitempty"`
}

// Socket is what a socket has and CRIU does not restore: see internal/linux/sockopt, which
// has the same fields.
type Socket struct {
	PID        int              `json:"pid"`
	FD         int              `json:"fd"`
	Domain     int              `json:"domain"`
	Type       int              `json:"type"`
	Protocol   int              `json:"protocol"`
	Options    map[string]int   `json:"options,omitempty"`
	Congestion string           `json:"congestion,omitempty"`
	Interface  string           `json:"multicast_interface,omitempty"`
	Groups     []MulticastGroup `json:"groups,omitempty"`
}

// MulticastGroup is one that a socket receives at an interface.
type MulticastGroup = struct {
	Interface string     `json:"interface"`
	Address   netip.Addr `json:"address"`
}

// Mount is one mount with its action in the mount plan.
type Mount struct {
	Path   string `json:"path"`
	FSType string `json:"fs_type"`
	Root   string `json:"root"`
	Source string `json:"source,omitempty"` // of a bind, on the host
	Action string `json:"action"`
	Key    string `json:"key,omitempty"`
	Value  string `json:"value,omitempty"`
	Reason string `json:"reason"`
}

// Options are the CRIU options of a dump.
type Options struct {
	LeaveRunning      bool   `json:"leave_running"`
	TCPEstablished    bool   `json:"tcp_established"`
	FileLocks         bool   `json:"file_locks"`
	ShellJob          bool   `json:"shell_job"`
	ExtUnixSk         bool   `json:"ext_unix_sk"`
	LinkRemap         bool   `json:"link_remap"`
	GhostLimit        uint32 `json:"ghost_limit_bytes"`
	ManageCgroupsMode string `json:"manage_cgroups_mode"`
	NetworkLock       string `json:"network_lock"`
	LogLevel          int    `json:"log_level"`
	TimeoutSeconds    uint32 `json:"timeout_s"`
	ConfigFile        string `json:"config_file,omitempty"`
	TrackMem          bool   `json:"track_mem"`
	PreDumpMode       string `json:"pre_dump_mode,omitempty"`
	AutoDedup         bool   `json:"auto_dedup"`
}

// Stats are CRIU's own figures.
type Stats struct {
	FreezingUS   uint64 `json:"freezing_us"`
	FrozenUS     uint64 `json:"frozen_us"`
	MemDumpUS    uint64 `json:"memdump_us"`
	MemWriteUS   uint64 `json:"memwrite_us"`
	PagesScanned uint64 `json:"pages_scanned"`
	PagesSkipped uint64 `json:"pages_skipped"`
	PagesWritten uint64 `json:"pages_written"`
}

// PreDump are the rounds of a chain, their goal and their outcome.
type PreDump struct {
	MaxDowntimeUS int64   `json:"max_downtime_us"` // 0: no goal
	MinRounds     int     `json:"min_rounds"`
	MaxRounds     int     `json:"max_rounds"`
	MaxTimeUS     int64   `json:"max_time_us"`
	MinPages      uint64  `json:"min_pages"`
	Rounds        []Round `json:"rounds"`
	Stop          string  `json:"stop"`
	Explanation   string  `json:"explanation"`
	ExpectedUS    int64   `json:"expected_downtime_us"`
	// MeasuredUS is what the final dump took; 0 while there is none.
	MeasuredUS int64 `json:"measured_downtime_us"`
}

// Round is one pre-dump.
type Round struct {
	Number int `json:"number"`
	Stats
	TookUS     int64 `json:"took_us"`
	ExpectedUS int64 `json:"expected_downtime_us"`
}

// Group is what a checkpoint was taken together with, all of it frozen.
type Group struct {
	ID      string   `json:"id"`
	Batch   string   `json:"batch,omitempty"`
	Members []string `json:"members"` // names of containers
	// SpreadUS is from the first freeze to the last, as Docker reported them.
	SpreadUS int64 `json:"spread_us"`
	// FrozenUS is from this container's freeze to its thaw, or its end.
	FrozenUS int64 `json:"frozen_us"`
}

// Versions are of what made the checkpoint; empty when unknown.
type Versions struct {
	Checkpointctl string `json:"checkpointctl"`
	CRIU          string `json:"criu"`
	Docker        string `json:"docker"`
	Runc          string `json:"runc"`
	Kernel        string `json:"kernel"`
}

// File is one file of a checkpoint.
type File struct {
	Name      string `json:"name"` // below the checkpoint's directory
	SizeBytes int64  `json:"size_bytes"`
	// SHA256 is of what was imported, and of older records: an archive must have it. See
	// Store.Hashed.
	SHA256 string `json:"sha256,omitempty"`
	// CRC32C is read back much faster than SHA256; older records have none.
	CRC32C string `json:"crc32c,omitempty"`
}

// Imported is how a checkpoint came here. What such a record says of the container
// is somebody else's word.
type Imported struct {
	At       time.Time `json:"at"`
	SignedBy string    `json:"signed_by,omitempty"` // empty if that was not asked
}

// Maker is who had a checkpoint made.
type Maker struct {
	User string `json:"user"` // empty if the uid has no name
	UID  int    `json:"uid"`
	Host string `json:"host"`
}

// IsOf says whether the checkpoint is of this very container: never for an
// imported one, whose record could name any.
func (r Record) IsOf(id string) bool { return r.Imported == nil && r.ID == id }

// What a record is of.
const (
	KindCheckpoint = "checkpoint"
	KindPreDump    = "pre-dump" // rounds alone: not to be restored, but to be continued
)

// Record is container.json.
type Record struct {
	SchemaVersion int    `json:"schema_version"`
	Checkpoint    string `json:"checkpoint"`
	Kind          string `json:"kind"`
	Parent        string `json:"parent,omitempty"` // checkpoint of the same container that this one needs
	TrackID       string `json:"track_id,omitempty"`
	// Comment is why it was made, in the user's words.
	Comment string `json:"comment,omitempty"`
	// MadeBy is nil in older records.
	MadeBy *Maker `json:"made_by,omitempty"`
	Container
	// Of the container's own network namespace: the net.* sysctls that differ
	// from a new one's, and those of interfaces that differ from its default.
	Sysctls            map[string]string   `json:"sysctls,omitempty"`
	InterfaceSysctls   map[string]string   `json:"interface_sysctls,omitempty"`
	Connections        []Connection        `json:"connections,omitempty"`
	ProxiedConnections []ProxiedConnection `json:"proxied_connections,omitempty"`

	Sockets []Socket `json:"sockets,omitempty"`
	// Tuning is of the threads for which it is not the kernel's default.
	Tuning []Tuning `json:"tuning,omitempty"`

	Timestamp time.Time `json:"timestamp"`
	// FrozenAt is when the container was frozen for its dump: a file whose ctime
	// is not before it was changed afterwards. Zero for rounds alone, and in older
	// records.
	FrozenAt     time.Time `json:"frozen_at,omitzero"`
	Options      Options   `json:"options"`
	PreDump      *PreDump  `json:"pre_dump,omitempty"`
	Group        *Group    `json:"group,omitempty"`
	Versions     Versions  `json:"versions"`
	Architecture string    `json:"architecture"`
	CPUFeatures  []string  `json:"cpu_features"`
	Stats        Stats     `json:"stats"`
	SizeBytes    int64     `json:"size_bytes"` // on the disk; holes take none
	// Imported says that it came in an archive; nil for one made here.
	Imported *Imported `json:"imported,omitempty"`
	// ImageArchive is the container's image as docker save gives it, in an archive that
	// holds it; nil in the store.
	ImageArchive *File `json:"image_archive,omitempty"`
	// Encrypted says that the files are sealed, to these recipients.
	Encrypted  bool     `json:"encrypted"`
	Recipients []string `json:"recipients,omitempty"`
	// Parts are what the files are of, and Binds what was mounted and not taken.
	Parts []Part `json:"parts,omitempty"`
	Binds []Bind `json:"binds,omitempty"`
	Files []File `json:"files"`
}

// Last is the directory of the newest images, below the checkpoint's: the next
// dump names it as its parent.
func (r Record) Last() string {
	if r.Kind == KindPreDump && r.PreDump != nil {
		return roundDir(len(r.PreDump.Rounds))
	}
	return "."
}

// roundDir is where the images of a round lie, below the checkpoint's.
func roundDir(number int) string { return fmt.Sprintf("pre-dump/%d", number) }
