package linux

import (
	"math/bits"
	"slices"
	"strconv"
)

// capabilityNames are in the order of their numbers, capabilities(7).
var capabilityNames = [...]string{
	"CHOWN", "DAC_OVERRIDE", "DAC_READ_SEARCH", "FOWNER", "FSETID", "KILL", "SETGID", "SETUID", "SETPCAP", "LINUX_IMMUTABLE", "NET_BIND_SERVICE",
	"NET_BROADCAST", "NET_ADMIN", "NET_RAW", "IPC_LOCK", "IPC_OWNER", "SYS_MODULE", "SYS_RAWIO", "SYS_CHROOT", "SYS_PTRACE", "SYS_PACCT", "SYS_ADMIN",
	"SYS_BOOT", "SYS_NICE", "SYS_RESOURCE", "SYS_TIME", "SYS_TTY_CONFIG", "MKNOD", "LEASE", "AUDIT_WRITE", "AUDIT_CONTROL", "SETFCAP", "MAC_OVERRIDE",
	"MAC_ADMIN", "SYSLOG", "WAKE_ALARM", "BLOCK_SUSPEND", "AUDIT_READ", "PERFMON", "BPF", "CHECKPOINT_RESTORE",
}

// Capability returns the bit of a capability by its name, as in SYS_ADMIN; 0 for one
// that is not known.
func Capability(name string) uint64 {
	if i := slices.Index(capabilityNames[:], name); i >= 0 {
		return 1 << i
	}
	return 0
}

// CapabilityNames returns the names of those in a set; the number of one that has none.
func CapabilityNames(set uint64) []string {
	var list []string
	for ; set != 0; set &= set - 1 {
		if i := bits.TrailingZeros64(set); i < len(capabilityNames) {
			list = append(list, capabilityNames[i])
		} else {
			list = append(list, strconv.Itoa(i))
		}
	}
	return list
}
