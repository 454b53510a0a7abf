// Package runtime knows OCI runtimes as containerd's shim calls them, and the
// restore that an ordinary `docker start` performs: checkpointctl leaves a
// request in a control directory, and a stand-in for runc, which the shim finds
// on its PATH for as long as the restore takes, runs `runc restore` where the
// shim asked for `runc create`.
package runtime
