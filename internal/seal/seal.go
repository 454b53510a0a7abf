package seal

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"

	"filippo.io/age"
	"golang.org/x/sync/errgroup"

	"github.com/checkpointctl/checkpointctl/internal/linux/sparse"
)

const (
	// Suffix ends the name of every sealed file.
	Suffix = ".age"
	// KeyFile holds the identity that the checkpoint's files are sealed to. It
	// is sealed to the recipients: a passphrase is stretched once, not for every
	// file, and a wrong one is found at once.
	KeyFile = "key" + Suffix
)

// Sealer seals files into one directory.
type Sealer struct {
	dir string
	key *age.X25519Identity
}

// New makes a key for a directory and seals it to the recipients.
func New(dir string, to *Recipients) (*Sealer, error) {
	key, err := age.GenerateX25519Identity()
	if err != nil {
		return nil, err
	}
	s := &Sealer{dir, key}
	return s, encrypt(filepath.Join(dir, KeyFile), strings.NewReader(key.String()+"\n"), to.list...)
}

// Images seals every file of a directory as NAME.age, and makes directories
// and links as they are there. Files that it has sealed before it leaves, but
// for those named.
func (s *Sealer) Images(src string, again ...string) error {
	var g errgroup.Group
	g.SetLimit(runtime.NumCPU())
	err := filepath.WalkDir(src, func(path string, e fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		name, err := filepath.Rel(src, path)
		if err != nil || name == "." {
			return err
		}
		dst := filepath.Join(s.dir, name)
		switch {
		case e.IsDir():
			err = os.Mkdir(dst, 0o700)
		case e.Type()&fs.ModeSymlink != 0:
			var to string
			if to, err = os.Readlink(path); err == nil {
				err = os.Symlink(to, dst)
			}
		case e.Type().IsRegular():
			g.Go(func() error { return s.file(path, dst+Suffix, contains(again, name)) })
		}
		if errors.Is(err, fs.ErrExist) {
			err = nil
		}
		return err
	})
	return errors.Join(err, g.Wait())
}

// Create begins a sealed file, NAME.age. What is written to it is on its way to
// the disk when it is closed.
func (s *Sealer) Create(name string) (io.WriteCloser, error) {
	out, err := os.OpenFile(filepath.Join(s.dir, name+Suffix), os.O_WRONLY|os.O_CREATE|os.O_TRUNC|syscall.O_NOFOLLOW, 0o600)
	if err != nil {
		return nil, err
	}
	w, err := s.Encrypt(out)
	if err != nil {
		return nil, errors.Join(err, out.Close())
	}
	return &sealed{w, out}, nil
}

// Encrypt returns a writer for the content of a sealed file, whose bytes go to w. The
// file is whole once the writer is closed.
func (s *Sealer) Encrypt(w io.Writer) (io.WriteCloser, error) {
	return age.Encrypt(w, s.key.Recipient())
}

type sealed struct {
	io.WriteCloser
	file *os.File
}

func (s *sealed) Close() error { return errors.Join(s.WriteCloser.Close(), s.file.Close()) }

func contains(list []string, name string) bool {
	for _, l := range list {
		if l == name {
			return true
		}
	}
	return false
}

func (s *Sealer) file(src, dst string, again bool) error {
	if _, err := os.Lstat(dst); err == nil && !again {
		return nil
	}
	in, err := os.Open(src)
	if err != nil {
		return err
	}
	defer in.Close()
	return encrypt(dst, in, s.key.Recipient())
}

func encrypt(dst string, in io.Reader, to ...age.Recipient) error {
	out, err := os.OpenFile(dst, os.O_WRONLY|os.O_CREATE|os.O_TRUNC|syscall.O_NOFOLLOW, 0o600)
	if err != nil {
		return err
	}
	w, err := age.Encrypt(out, to...)
	if err == nil {
		_, err = io.Copy(w, in)
		err = errors.Join(err, w.Close())
	}
	return errors.Join(err, out.Close())
}

// Opener opens the files of one directory.
type Opener struct {
	dir string
	key *age.X25519Identity
}

// Open reads the key of a directory. ErrNoIdentity and ErrWrongIdentity are
// the errors to expect.
func Open(dir string, ids Identities) (*Opener, error) {
	if len(ids) == 0 {
		return nil, ErrNoIdentity
	}
	var text bytes.Buffer
	err := decrypt(filepath.Join(dir, KeyFile), &text, ids...)
	var no *age.NoIdentityMatchError
	if errors.As(err, &no) {
		return nil, ErrWrongIdentity
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", KeyFile, err)
	}
	key, err := age.ParseX25519Identity(strings.TrimSpace(text.String()))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", KeyFile, err)
	}
	return &Opener{dir, key}, nil
}

// Images opens every sealed file into dst, with directories and links, but for the
// files that are to be left out.
func (o *Opener) Images(dst string, leave ...string) error {
	var g errgroup.Group
	g.SetLimit(runtime.NumCPU())
	err := filepath.WalkDir(o.dir, func(path string, e fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		name, err := filepath.Rel(o.dir, path)
		if err != nil || name == "." || name == KeyFile {
			return err
		}
		plain, sealed := strings.CutSuffix(filepath.Join(dst, name), Suffix)
		switch {
		case e.IsDir():
			return os.Mkdir(filepath.Join(dst, name), 0o700)
		case e.Type()&fs.ModeSymlink != 0:
			to, err := os.Readlink(path)
			if err != nil {
				return err
			}
			return os.Symlink(to, filepath.Join(dst, name))
		case e.Type().IsRegular() && sealed && !contains(leave, strings.TrimSuffix(name, Suffix)):
			g.Go(func() error { return o.file(path, plain) })
		}
		return nil
	})
	return errors.Join(err, g.Wait())
}

func (o *Opener) file(src, dst string) error {
	out, err := os.OpenFile(dst, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	// Deduplicated rounds have many zeros, and memory is short.
	w := sparse.NewWriter(out)
	if err = decrypt(src, w, o.key); err == nil {
		err = w.Finish()
	}
	return errors.Join(err, out.Close())
}

// Show writes what a sealed file holds.
func (o *Opener) Show(name string, w io.Writer) error {
	return decrypt(filepath.Join(o.dir, name), w, o.key)
}

// Open opens a sealed file as it is decrypted: NAME.age.
func (o *Opener) Open(name string) (io.ReadCloser, error) {
	r, w := io.Pipe()
	go func() { _ = w.CloseWithError(o.Show(name+Suffix, w)) }()
	return r, nil
}

// Add seals one more file, for whoever can open the others.
func (o *Opener) Add(name string, data []byte) error {
	return encrypt(filepath.Join(o.dir, name+Suffix), bytes.NewReader(data), o.key.Recipient())
}

func decrypt(src string, w io.Writer, ids ...age.Identity) error {
	in, err := os.OpenFile(src, os.O_RDONLY|syscall.O_NOFOLLOW|syscall.O_NONBLOCK, 0)
	if err != nil {
		return err
	}
	defer in.Close()
	r, err := age.Decrypt(in, ids...)
	if err != nil {
		return fmt.Errorf("%s: %w", filepath.Base(src), err)
	}
	// age authenticates each chunk before it hands it out.
	if _, err = io.CopyBuffer(w, struct{ io.Reader }{r}, make([]byte, 64<<10)); err != nil {
		return fmt.Errorf("%s: %w", filepath.Base(src), err)
	}
	return nil
}
