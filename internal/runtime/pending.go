package runtime

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"
)

const (
	ownerFile = "owner.lock" // locked by the checkpointctl that restores
	linkFile  = "link"       // names the link that the restore needs
	workDir   = "work"
	linksLock = "links.lock" // beside the containers' directories
)

// RestoreLog is the name that runc gives to CRIU's log of a restore.
const RestoreLog = "restore.log"

// ErrBusy is a container that another run restores.
var ErrBusy = errors.New("another run restores this container")

// Pending is a restore that the next `docker start` of a container performs.
type Pending struct {
	Control
	owner *os.File
	link  string // empty when Docker calls the stand-in by itself
}

// Prepare makes a restore pending. With a link, it lets the stand-in be found
// there until Close. ErrBusy if another run restores the container.
func Prepare(ctx context.Context, id string, req Request, link, standIn string) (*Pending, error) {
	p := &Pending{Control: ControlOf(id), link: link}
	if err := p.begin(); err != nil {
		return nil, err
	}
	req.WorkDir = p.Path(workDir)
	err := p.clear()
	if err == nil && link != "" {
		err = p.putLink(ctx, standIn)
	}
	if err == nil {
		err = p.Write(req)
	}
	if err != nil {
		return nil, errors.Join(err, p.Close())
	}
	return p, nil
}

// begin makes the directory and locks it. Whoever looks for abandoned restores has the lock
// for a moment.
func (p *Pending) begin() error {
	for tries := 0; ; tries++ {
		err := os.MkdirAll(p.Dir, 0o700)
		if err == nil {
			err = p.take()
		}
		if !errors.Is(err, ErrBusy) && !errors.Is(err, os.ErrNotExist) || tries == 20 {
			return err
		}
		time.Sleep(5 * time.Millisecond)
	}
}

// take locks the directory. os.ErrNotExist if there is none.
func (p *Pending) take() error {
	f, err := os.OpenFile(p.Path(ownerFile), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return err
	}
	err = unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
	if err == nil && p.AgentAlive() || errors.Is(err, unix.EWOULDBLOCK) {
		err = ErrBusy
	}
	if err == nil {
		// Another run may have removed it meanwhile, with its directory.
		ours, _ := f.Stat()
		there, statErr := os.Stat(p.Path(ownerFile))
		if statErr != nil || !os.SameFile(ours, there) {
			err = ErrBusy
		}
	}
	if err != nil {
		return errors.Join(err, f.Close())
	}
	p.owner = f
	return nil
}

// clear removes what an earlier restore left.
func (p *Pending) clear() error {
	entries, err := os.ReadDir(p.Dir)
	for _, e := range entries {
		if e.Name() != ownerFile {
			err = errors.Join(err, os.RemoveAll(p.Path(e.Name())))
		}
	}
	return err
}

// putLink lets the stand-in be found. The name of the link is noted first.
func (p *Pending) putLink(ctx context.Context, standIn string) error {
	return p.withLinks(ctx, func() error {
		if err := os.WriteFile(p.Path(linkFile), []byte(p.link), 0o600); err != nil {
			return err
		}
		if _, err := os.Lstat(p.link); err == nil {
			return nil // another restore's, see Place
		}
		return os.Symlink(standIn, p.link)
	})
}

// Log returns CRIU's log, nil if CRIU did not write one.
func (p *Pending) Log() []byte {
	log, err := os.ReadFile(filepath.Join(p.Path(workDir), RestoreLog))
	if err != nil {
		return nil
	}
	return log
}

// Close removes the restore, and the link when no other restore needs it. A
// restore that is still under way, because Docker went away, is undone first:
// without the link, Docker's next calls would reach a runc that knows nothing of
// the container.
func (p *Pending) Close() error {
	if p.AgentAlive() {
		_, _ = p.Ask(Message{Do: Abort}) // it answers when it has ended
	}
	ctx, cancel := context.WithTimeout(context.Background(), lockLimit)
	defer cancel()
	err := p.withLinks(ctx, func() error {
		err := p.remove()
		if p.link == "" || p.needed() {
			return err
		}
		return errors.Join(err, removeLink(p.link))
	})
	return errors.Join(err, p.owner.Close())
}

// remove removes the directory. Whoever looks for abandoned restores makes the lock again
// when it has just been removed, and finds out.
func (p *Pending) remove() error {
	for tries := 0; ; tries++ {
		if err := os.RemoveAll(p.Dir); !errors.Is(err, unix.ENOTEMPTY) || tries == 100 {
			return err
		}
	}
}

// lockLimit is for locks that others hold for moments.
const lockLimit = 10 * time.Second

// flock takes a lock that others may have, until the context ends.
func flock(ctx context.Context, f *os.File) error {
	for {
		err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
		if !errors.Is(err, unix.EWOULDBLOCK) {
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(5 * time.Millisecond):
		}
	}
}

// withLinks runs f while no other run changes links.
func (p *Pending) withLinks(ctx context.Context, f func() error) error {
	lock, err := os.OpenFile(filepath.Join(filepath.Dir(p.Dir), linksLock), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return err
	}
	defer lock.Close()
	if err := flock(ctx, lock); err != nil {
		return fmt.Errorf("waiting for another restore at %s: %w", lock.Name(), err)
	}
	return f()
}

// needed says whether any restore has noted the link.
func (p *Pending) needed() bool {
	notes, _ := filepath.Glob(filepath.Join(filepath.Dir(p.Dir), "*", linkFile))
	for _, note := range notes {
		if name, err := os.ReadFile(note); err == nil && string(name) == p.link {
			return true
		}
	}
	return false
}

// removeLink removes a link, and nothing that is none.
func removeLink(path string) error {
	info, err := os.Lstat(path)
	switch {
	case errors.Is(err, os.ErrNotExist):
		return nil
	case err != nil:
		return err
	case info.Mode()&os.ModeSymlink == 0:
		return fmt.Errorf("%s is not the link that was made", path)
	}
	return os.Remove(path)
}
