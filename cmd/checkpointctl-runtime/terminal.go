package main

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/signal"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// terminal stands between the shim and a restored container with a tty. The
// shim waits for a master in `runc create`, but CRIU makes the container's only
// later, in `runc start`. So the shim gets the master of a pty of our own, and
// what goes through it is copied for the life of the container.
type terminal struct {
	slave    *os.File          // of our pty
	listener *net.UnixListener // gets the container's master from runc
}

// newTerminal sends the shim, at its console socket, the master of a new pty,
// and listens at own for the container's.
func newTerminal(console, own string) (*terminal, error) {
	master, err := os.OpenFile("/dev/ptmx", os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		return nil, err
	}
	defer master.Close()
	slave, err := openSlave(int(master.Fd()))
	if err != nil {
		return nil, err
	}
	t := &terminal{slave: slave}
	if t.listener, err = net.ListenUnix("unix", &net.UnixAddr{Name: own, Net: "unix"}); err != nil {
		return nil, err
	}
	shim, err := net.DialUnix("unix", nil, &net.UnixAddr{Name: console, Net: "unix"})
	if err != nil {
		return nil, err
	}
	defer shim.Close()
	// The name and the file, as runc sends them.
	_, _, err = shim.WriteMsgUnix([]byte(slave.Name()), unix.UnixRights(int(master.Fd())), nil)
	return t, err
}

// openSlave opens the other end, which passes all bytes on unchanged.
func openSlave(master int) (*os.File, error) {
	if err := unix.IoctlSetPointerInt(master, unix.TIOCSPTLCK, 0); err != nil {
		return nil, err
	}
	n, err := unix.IoctlGetInt(master, unix.TIOCGPTN)
	if err != nil {
		return nil, err
	}
	slave, err := os.OpenFile(fmt.Sprintf("/dev/pts/%d", n), os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		return nil, err
	}
	fd := int(slave.Fd())
	mode, err := unix.IoctlGetTermios(fd, unix.TCGETS)
	if err == nil {
		// cfmakeraw of termios(3)
		mode.Iflag &^= unix.IGNBRK | unix.BRKINT | unix.PARMRK | unix.ISTRIP | unix.INLCR | unix.IGNCR | unix.ICRNL | unix.IXON
		mode.Oflag &^= unix.OPOST
		mode.Lflag &^= unix.ECHO | unix.ECHONL | unix.ICANON | unix.ISIG | unix.IEXTEN
		mode.Cflag = mode.Cflag&^(unix.CSIZE|unix.PARENB) | unix.CS8
		mode.Cc[unix.VMIN], mode.Cc[unix.VTIME] = 1, 0
		err = unix.IoctlSetTermios(fd, unix.TCSETS, mode)
	}
	return slave, err
}

// relay copies until the container's terminal or the shim's is closed.
func (t *terminal) relay() error {
	defer t.slave.Close()
	master, err := t.receive()
	if err != nil {
		return err
	}
	defer master.Close()
	if err := t.followSize(master); err != nil {
		return err
	}
	ended := make(chan struct{}, 2)
	pass := func(to, from *os.File) {
		_, _ = io.Copy(to, from)
		ended <- struct{}{}
	}
	go pass(master, t.slave)
	go pass(t.slave, master)
	<-ended
	return nil
}

// followSize gives the container's terminal the size of the shim's. The kernel
// tells those of a changed size whose controlling terminal it is. runc has ended
// by now: it must not have it.
func (t *terminal) followSize(master *os.File) error {
	resized := make(chan os.Signal, 1)
	signal.Notify(resized, syscall.SIGWINCH)
	if err := unix.IoctlSetInt(int(t.slave.Fd()), unix.TIOCSCTTY, 0); err != nil {
		return err
	}
	resized <- syscall.SIGWINCH
	go func() {
		for range resized {
			// It has none before somebody attaches; CRIU restores the last one.
			size, err := unix.IoctlGetWinsize(int(t.slave.Fd()), unix.TIOCGWINSZ)
			if err == nil && size.Row > 0 {
				_ = unix.IoctlSetWinsize(int(master.Fd()), unix.TIOCSWINSZ, size)
			}
		}
	}()
	return nil
}

// receive takes the container's master from runc, which has sent it by now.
func (t *terminal) receive() (*os.File, error) {
	defer t.listener.Close()
	_ = t.listener.SetDeadline(time.Now().Add(5 * time.Second))
	conn, err := t.listener.AcceptUnix()
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	name, rights := make([]byte, 4096), make([]byte, unix.CmsgSpace(4))
	_, n, _, _, err := conn.ReadMsgUnix(name, rights)
	if err != nil {
		return nil, err
	}
	messages, err := unix.ParseSocketControlMessage(rights[:n])
	if err != nil {
		return nil, err
	}
	if len(messages) == 0 {
		return nil, errors.New("runc sent no terminal")
	}
	fds, err := unix.ParseUnixRights(&messages[0])
	if err != nil {
		return nil, err
	}
	return os.NewFile(uintptr(fds[0]), "master"), nil
}
