package snapshot

import (
	"encoding/binary"

	core_x86 "github.com/checkpoint-restore/go-criu/v7/crit/images/core-x86"
	criu_core "github.com/checkpoint-restore/go-criu/v7/crit/images/criu-core"
)

// Registers are those of a thread on x86-64.
type Registers struct {
	// General are in the order of the kernel's struct user_regs_struct
	// (arch/x86/include/uapi/asm/ptrace.h, asm/user_64.h).
	General [27]uint64
	// Floating is what the instruction FXSAVE writes.
	Floating [512]byte
}

// IP and SP are the instruction and the stack pointer.
func (r *Registers) IP() uint64 { return r.General[16] }

// SP is the stack pointer.
func (r *Registers) SP() uint64 { return r.General[19] }

// registers returns nil for another architecture, and for a program of 32 bits.
func registers(e *criu_core.CoreEntry) *Registers {
	g := e.GetThreadInfo().GetGpregs()
	if g == nil || e.GetMtype() != criu_core.CoreEntry_X86_64 || g.GetMode() != core_x86.UserX86RegsMode_NATIVE {
		return nil
	}
	r := &Registers{General: [27]uint64{
		g.GetR15(), g.GetR14(), g.GetR13(), g.GetR12(), g.GetBp(), g.GetBx(), g.GetR11(), g.GetR10(), g.GetR9(), g.GetR8(), g.GetAx(), g.GetCx(), g.GetDx(),
		g.GetSi(), g.GetDi(), g.GetOrigAx(), g.GetIp(), g.GetCs(), g.GetFlags(), g.GetSp(), g.GetSs(), g.GetFsBase(), g.GetGsBase(), g.GetDs(), g.GetEs(), g.GetFs(), g.GetGs(),
	}}
	f := e.GetThreadInfo().GetFpregs()
	le := binary.LittleEndian
	head := le.AppendUint16(nil, uint16(f.GetCwd()))
	head = le.AppendUint16(head, uint16(f.GetSwd()))
	head = le.AppendUint16(head, uint16(f.GetTwd()))
	head = le.AppendUint16(head, uint16(f.GetFop()))
	head = le.AppendUint64(head, f.GetRip())
	head = le.AppendUint64(head, f.GetRdp())
	head = le.AppendUint32(head, f.GetMxcsr())
	head = le.AppendUint32(head, f.GetMxcsrMask())
	copy(r.Floating[:], head)
	words(r.Floating[32:160], f.GetStSpace())
	words(r.Floating[160:416], f.GetXmmSpace())
	return r
}

// words writes as many of them as there is room for.
func words(to []byte, list []uint32) {
	for i := 0; i < len(list) && i < len(to)/4; i++ {
		binary.LittleEndian.PutUint32(to[4*i:], list[i])
	}
}
