package preflight

import "fmt"

// unixSockets are those of the tasks that are connected to processes outside.
// CRIU restores one by connecting it to the same path again, and no streams
// (__dump_external_socket in criu/sk-unix.c).
func unixSockets(f Facts, o Options) (list []Refusal) {
	for _, t := range f.Tasks {
		for _, file := range t.Files {
			peer, ok := f.Outside[file.Socket()]
			if !ok {
				continue
			}
			object := fmt.Sprintf("has a unix socket (descriptor %d) that is connected to process %d (%s) outside the container", file.FD, peer.PID, peer.Name)
			if peer.Path != "" {
				object = fmt.Sprintf("%s, at %s", object, shownPath(peer.Path))
			}
			const closing = "end the connection before the checkpoint: stop the program that has it, or the one outside"
			switch {
			case peer.Stream:
				list = append(list, of(t, "the half of a connection cannot be restored, by --ext-unix-sk neither", closing, "%s", object))
			case !peer.Near:
				list = append(list, of(t, "CRIU does not find the other end, in another network namespace", closing, "%s", object))
			case !peer.There:
				list = append(list, of(t, "a restore could not connect it again: the container has no such socket", "bind the socket's directory into the container at the same path, or "+closing, "%s", object))
			case !o.ExtUnixSk:
				r := of(t, "only --ext-unix-sk has a restore connect it again", "--ext-unix-sk", "%s", object)
				r.With = "--ext-unix-sk"
				list = append(list, r)
			}
		}
	}
	return list
}

// shownPath is a name as ss(8) shows it: an abstract one begins with @.
func shownPath(path string) string {
	if path[0] == 0 {
		return "@" + path[1:]
	}
	return path
}

// linkLocal are connections for whose address CRIU would need the interface, which
// it does not keep (libsoccr).
func linkLocal(f Facts, o Options) (list []Refusal) {
	if !o.TCPEstablished {
		return nil // CRIU refuses all that are established
	}
	for _, t := range f.Tasks {
		for _, file := range t.Files {
			if address, ok := f.LinkLocal[file.Socket()]; ok {
				list = append(list, of(t, cannotRestore, "let its client use another address than the link-local one, or close the connection before the checkpoint",
					"has a TCP connection of the link-local address %s (descriptor %d)", address, file.FD))
			}
		}
	}
	return list
}
