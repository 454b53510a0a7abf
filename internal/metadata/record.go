// Package metadata stores checkpoints and what is known about them.
package metadata

import "time"

// RecordFile is written last into a checkpoint: no record, no checkpoint.
const RecordFile = "container.json"

// SchemaVersion is what this program writes. Keys are only ever added to it.
const SchemaVersion = 1

// Container is what was known of a container before its dump.
type Container struct {
	ID          string      `json:"id"`
	Name        string      `json:"name"`
	PID         int         `json:"pid"`
	State       string      `json:"state"`
	Image       string      `json:"image"`
	ImageDigest string      `json:"image_digest"`
	Driver      string      `json:"driver"`
	RootFS      string      `json:"rootfs"`
	UpperDir    string      `json:"upper_dir,omitempty"`
	Runtime     string      `json:"runtime"`
	BundlePath  string      `json:"bundle_path"`
	CgroupMode  string      `json:"cgroup_mode"`
	CgroupPath  string      `json:"cgroup_path"`
	Cgroups     []Cgroup    `json:"cgroups"`
	Namespaces  []Namespace `json:"namespaces"`
	Networks    []Network   `json:"networks"`
	Mounts      []Mount     `json:"mounts"`
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
	Name      string `json:"name"`
	SizeBytes int64  `json:"size_bytes"`
	SHA256    string `json:"sha256"`
}

// Record is container.json.
type Record struct {
	SchemaVersion int    `json:"schema_version"`
	Checkpoint    string `json:"checkpoint"`
	Container
	Timestamp    time.Time `json:"timestamp"`
	Options      Options   `json:"options"`
	Versions     Versions  `json:"versions"`
	Architecture string    `json:"architecture"`
	CPUFeatures  []string  `json:"cpu_features"`
	Stats        Stats     `json:"stats"`
	SizeBytes    int64     `json:"size_bytes"`
	Files        []File    `json:"files"`
}
