package main

import (
	"errors"
	"fmt"
	"strings"

	"github.com/checkpointctl/checkpointctl/internal/linux"
	"github.com/checkpointctl/checkpointctl/internal/linux/conntrack"
	"github.com/checkpointctl/checkpointctl/internal/linux/netns"
	"github.com/checkpointctl/checkpointctl/internal/linux/sysctl"
	"github.com/checkpointctl/checkpointctl/internal/runtime"
)

// prepareNamespace makes the init's network namespace as it was before Docker
// knows that there is one, and before CRIU makes sockets in it: binding a port
// below 1024 or an ICMP socket depends on sysctls.
func (a *agent) prepareNamespace(pid int) error {
	if a.req.HoldPackets {
		if err := linux.LockInput(pid); err != nil {
			return err
		}
	}
	return a.apply(pid, a.req.Sysctls)
}

// prepareConnected is for when Docker has connected the network: it brings the
// interfaces. What leaves the container finds the translation it had before.
func (a *agent) prepareConnected() error {
	err := a.apply(a.init.PID, a.req.InterfaceSysctls)
	if err == nil && len(a.req.Connections) > 0 {
		if putErr := conntrack.Put("", a.req.Connections); putErr != nil {
			a.warn("connections through published ports: " + putErr.Error())
		}
	}
	return err
}

// apply sets sysctls. A kernel may lack one that another has.
func (a *agent) apply(pid int, s sysctl.Settings) error {
	if len(s) == 0 {
		return nil
	}
	err := sysctl.ApplyIn(netns.Of(pid), s)
	var unset *sysctl.Error
	if errors.As(err, &unset) && len(unset.Failed) == 0 {
		a.warn(fmt.Sprintf("this kernel has no %s", strings.Join(unset.Missing, ", ")))
		return nil
	}
	return err
}

// warn tells the user what is not as it was.
func (a *agent) warn(text string) { a.warnings = append(a.warnings, text) }

// release lets packets in again.
func release(req runtime.Request, pid int) error {
	if !req.HoldPackets || req.KeepHold {
		return nil
	}
	return linux.UnlockInput(pid)
}
