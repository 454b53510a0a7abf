package signature

import (
	"bytes"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// key makes one by the real ssh-keygen.
func key(t *testing.T, args ...string) string {
	t.Helper()
	if _, err := exec.LookPath("ssh-keygen"); err != nil {
		t.Skip("no ssh-keygen here")
	}
	file := filepath.Join(t.TempDir(), "id")
	if out, err := exec.Command("ssh-keygen", append([]string{"-q", "-N", "", "-C", "a comment", "-f", file}, args...)...).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	return file
}

func write(t *testing.T, text string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

func text(t *testing.T, file string) string {
	t.Helper()
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

// The real ssh-keygen verifies what is signed here, and the other way round.
func TestAgreesWithSSHKeygen(t *testing.T) {
	message := []byte("a record\n")
	for name, kind := range map[string][]string{
		"ed25519": {"-t", "ed25519"}, "ecdsa": {"-t", "ecdsa"}, "rsa": {"-t", "rsa", "-b", "2048"},
	} {
		t.Run(name, func(t *testing.T) {
			file := key(t, kind...)
			k, err := ReadKey(file)
			if err != nil {
				t.Fatal(err)
			}
			ours, err := k.Sign(message)
			if err != nil {
				t.Fatal(err)
			}
			allowedFile := write(t, "alice@example.org namespaces=\"git,checkpointctl\" "+text(t, file+".pub"))
			cmd := exec.Command("ssh-keygen", "-Y", "verify", "-f", allowedFile, "-I", "alice@example.org", "-n", Namespace, "-s", write(t, string(ours)))
			cmd.Stdin = bytes.NewReader(message)
			if out, err := cmd.CombinedOutput(); err != nil {
				t.Errorf("ssh-keygen does not take it: %v: %s", err, out)
			}
			cmd = exec.Command("ssh-keygen", "-Y", "sign", "-f", file, "-n", Namespace)
			cmd.Stdin = bytes.NewReader(message)
			theirs, err := cmd.Output()
			if err != nil {
				t.Fatal(err)
			}
			for _, file := range []string{allowedFile, file + ".pub"} {
				allowed, err := ReadAllowed(file)
				if err != nil {
					t.Fatal(err)
				}
				for _, s := range [][]byte{ours, theirs} {
					if who, err := allowed.Verify(message, s); err != nil || !strings.Contains(who, "SHA256:") {
						t.Errorf("%s: %q, %v", file, who, err)
					}
				}
			}
		})
	}
}

func TestRefused(t *testing.T) {
	mine, other := key(t, "-t", "ed25519"), key(t, "-t", "ed25519")
	message := []byte("a record\n")
	k, err := ReadKey(mine)
	if err != nil {
		t.Fatal(err)
	}
	good, err := k.Sign(message)
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("ssh-keygen", "-Y", "sign", "-f", mine, "-n", "git")
	cmd.Stdin = bytes.NewReader(message)
	ofGit, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	pub := func(file string) Allowed {
		a, err := ReadAllowed(file + ".pub")
		if err != nil {
			t.Fatal(err)
		}
		return a
	}
	for name, test := range map[string]struct {
		allowed            Allowed
		message, signature []byte
	}{
		"somebody else's":  {pub(other), message, good},
		"another message":  {pub(mine), []byte("a recorD\n"), good},
		"another purpose":  {pub(mine), message, ofGit},
		"no signature":     {pub(mine), message, nil},
		"cut":              {pub(mine), message, bytes.Replace(good, []byte("A"), nil, 4)},
		"not of ssh":       {pub(mine), message, []byte("-----BEGIN X-----\nAAAA\n-----END X-----\n")},
		"nobody's allowed": {nil, message, good},
	} {
		if who, err := test.allowed.Verify(test.message, test.signature); !errors.Is(err, ErrNotSigned) || who != "" {
			t.Errorf("%s: %q, %v", name, who, err)
		}
	}
	for name, text := range map[string]string{
		"empty":          "# nothing\n",
		"other purpose":  `a namespaces="git" ` + text(t, mine+".pub"),
		"unknown option": `a valid-before="20200101" ` + text(t, mine+".pub"),
		"authority":      "a cert-authority " + text(t, mine+".pub"),
		"no key":         "a ssh-ed25519\n",
		"rubbish":        "a ssh-ed25519 !!!\n",
	} {
		if _, err := ReadAllowed(write(t, text)); !errors.Is(err, ErrBadKey) {
			t.Errorf("%s: %v", name, err)
		}
	}
	locked := filepath.Join(t.TempDir(), "locked")
	if out, err := exec.Command("ssh-keygen", "-q", "-t", "ed25519", "-N", "secret", "-f", locked).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	if _, err := ReadKey(locked); !errors.Is(err, ErrBadKey) || !strings.Contains(err.Error(), "passphrase") {
		t.Errorf("locked: %v", err)
	}
	if _, err := ReadKey(mine + ".pub"); !errors.Is(err, ErrBadKey) {
		t.Errorf("public: %v", err)
	}
}

// Whatever a signature is, it is refused, and nothing else happens.
func FuzzVerify(f *testing.F) {
	f.Add([]byte("-----BEGIN SSH SIGNATURE-----\nU1NIU0lHAAAAAQ==\n-----END SSH SIGNATURE-----\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		if _, err := (Allowed{}).Verify([]byte("x"), data); !errors.Is(err, ErrNotSigned) {
			t.Errorf("got %v", err)
		}
	})
}
