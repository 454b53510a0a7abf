package seal

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"filippo.io/age"
)

func pair(t *testing.T) (*Recipients, Identities) {
	t.Helper()
	id, err := age.GenerateX25519Identity()
	if err != nil {
		t.Fatal(err)
	}
	to, err := ParseRecipients([]string{id.Recipient().String()}, "")
	if err != nil {
		t.Fatal(err)
	}
	return to, Identities{id}
}

// images makes a directory with a round below, a link and a file with a hole.
func images(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	hole := make([]byte, 1<<20)
	copy(hole[len(hole)/2:], "in the middle")
	for name, data := range map[string][]byte{
		"core-1.img": []byte("core"), "empty.img": nil, "pages-1.img": hole, "pre-dump/1/pages-1.img": bytes.Repeat([]byte("page"), 50000),
	} {
		path := filepath.Join(dir, name)
		if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o700), os.WriteFile(path, data, 0o600)); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Symlink("pre-dump/1", filepath.Join(dir, "parent")); err != nil {
		t.Fatal(err)
	}
	return dir
}

func TestRoundTrip(t *testing.T) {
	to, ids := pair(t)
	src, sealed, dst := images(t), t.TempDir(), t.TempDir()
	s, err := New(sealed, to)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Images(src); err != nil {
		t.Fatal(err)
	}
	// CRIU goes on writing to its log.
	if err := os.WriteFile(filepath.Join(src, "core-1.img"), []byte("core and more"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := s.Images(src, "core-1.img"); err != nil {
		t.Fatal(err)
	}
	o, err := Open(sealed, ids)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(o.Add("added.log", []byte("later")), o.Images(dst)); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"core-1.img", "empty.img", "pages-1.img", "pre-dump/1/pages-1.img", "parent/pages-1.img"} {
		want, err := os.ReadFile(filepath.Join(src, name))
		if err != nil {
			t.Fatal(err)
		}
		if got, err := os.ReadFile(filepath.Join(dst, name)); err != nil || !bytes.Equal(got, want) {
			t.Errorf("%s: %d bytes, want %d; %v", name, len(got), len(want), err)
		}
	}
	if got, err := os.ReadFile(filepath.Join(dst, "added.log")); err != nil || string(got) != "later" {
		t.Errorf("got %q, %v", got, err)
	}
	info, err := os.Stat(filepath.Join(dst, "pages-1.img"))
	if err != nil {
		t.Fatal(err)
	}
	if st, ok := info.Sys().(*syscall.Stat_t); !ok || st.Blocks*512 > 256<<10 {
		t.Errorf("zeros take %d bytes", st.Blocks*512)
	}
}

func TestWrongIdentity(t *testing.T) {
	to, _ := pair(t)
	_, other := pair(t)
	dir := t.TempDir()
	if _, err := New(dir, to); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(dir, other); !errors.Is(err, ErrWrongIdentity) {
		t.Errorf("got %v", err)
	}
	if _, err := Open(dir, nil); !errors.Is(err, ErrNoIdentity) {
		t.Errorf("got %v", err)
	}
}

// What was cut or changed is never taken for what was sealed.
func TestDamage(t *testing.T) {
	to, ids := pair(t)
	src, sealed := images(t), t.TempDir()
	s, err := New(sealed, to)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Images(src); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(sealed, "pre-dump/1/pages-1.img"+Suffix)
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	flipped := bytes.Clone(whole)
	flipped[len(flipped)-100] ^= 1
	for name, data := range map[string][]byte{"cut": whole[:len(whole)-1], "cut at a chunk": whole[:len(whole)-len(whole)%(64<<10)], "flipped": flipped, "empty": nil} {
		if err := os.WriteFile(path, data, 0o600); err != nil {
			t.Fatal(err)
		}
		o, err := Open(sealed, ids)
		if err != nil {
			t.Fatal(err)
		}
		if err := o.Images(t.TempDir()); err == nil || !strings.Contains(err.Error(), "pages-1.img.age") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// A secret key given for a public one is not repeated in the message.
func TestSecretsAreNotShown(t *testing.T) {
	id, err := age.GenerateX25519Identity()
	if err != nil {
		t.Fatal(err)
	}
	secret := id.String()
	_, err = ParseRecipients([]string{secret}, "")
	if !errors.Is(err, ErrBadKey) || strings.Contains(err.Error(), secret[20:]) {
		t.Errorf("got %v", err)
	}
	file := filepath.Join(t.TempDir(), "id")
	if err := os.WriteFile(file, []byte("not a key: "+secret), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := ParseIdentities(file, ""); !errors.Is(err, ErrBadKey) || strings.Contains(err.Error(), secret[20:]) {
		t.Errorf("got %v", err)
	}
}
