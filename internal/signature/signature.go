// Package signature signs and verifies by SSH keys, in the format of ssh-keygen -Y
// (PROTOCOL.sshsig of OpenSSH).
package signature

import (
	"bytes"
	"crypto/rand"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"

	"golang.org/x/crypto/ssh"
)

// Namespace keeps a signature from being taken for one of something else.
const Namespace = "checkpointctl"

// Errors that callers tell apart.
var (
	// ErrBadKey is a file that holds no key that can be used.
	ErrBadKey = errors.New("unusable key")
	// ErrNotSigned is a message without a signature of one of those wanted.
	ErrNotSigned = errors.New("not signed by a key that was given")
)

const (
	preamble  = "SSHSIG"
	armorType = "SSH SIGNATURE"
	version   = 1
	maxFile   = 1 << 20
)

// blob is a signature as it is stored, behind the preamble.
type blob struct {
	Version   uint32
	PublicKey string
	Namespace string
	Reserved  string
	Hash      string
	Signature string
}

// signed is what is signed, behind the preamble.
type signed struct {
	Namespace string
	Reserved  string
	Hash      string
	Digest    string
}

// Key signs.
type Key struct{ signer ssh.Signer }

// ReadKey reads an SSH private key that no passphrase protects. ErrBadKey is the
// error to expect.
func ReadKey(file string) (*Key, error) {
	data, err := read(file)
	if err != nil {
		return nil, err
	}
	signer, err := ssh.ParsePrivateKey(data)
	var locked *ssh.PassphraseMissingError
	if errors.As(err, &locked) {
		return nil, fmt.Errorf("%w: %s is protected by a passphrase; take a key without one", ErrBadKey, file)
	}
	if err == nil && !slices.Contains(kinds, signer.PublicKey().Type()) {
		err = fmt.Errorf("of type %s", signer.PublicKey().Type())
	}
	if err != nil {
		return nil, fmt.Errorf("%w: %s: %w", ErrBadKey, file, err)
	}
	return &Key{signer}, nil
}

// kinds are the types of keys that ssh-keygen signs with, without a token.
var kinds = []string{ssh.KeyAlgoED25519, ssh.KeyAlgoECDSA256, ssh.KeyAlgoECDSA384, ssh.KeyAlgoECDSA521, ssh.KeyAlgoRSA}

// Sign returns the signature of a message, as ssh-keygen -Y sign -n checkpointctl
// writes it.
func (k *Key) Sign(message []byte) ([]byte, error) {
	digest := sha512.Sum512(message)
	b := blob{Version: version, PublicKey: string(k.signer.PublicKey().Marshal()), Namespace: Namespace, Hash: "sha512"}
	data := b.signed(digest[:])
	var s *ssh.Signature
	var err error
	if a, ok := k.signer.(ssh.AlgorithmSigner); ok && k.signer.PublicKey().Type() == ssh.KeyAlgoRSA {
		s, err = a.SignWithAlgorithm(rand.Reader, data, ssh.KeyAlgoRSASHA512) // SHA-1 is refused
	} else {
		s, err = k.signer.Sign(rand.Reader, data)
	}
	if err != nil {
		return nil, err
	}
	b.Signature = string(ssh.Marshal(s))
	return pem.EncodeToMemory(&pem.Block{Type: armorType, Bytes: append([]byte(preamble), ssh.Marshal(b)...)}), nil
}

func (b blob) signed(digest []byte) []byte {
	return append([]byte(preamble), ssh.Marshal(signed{b.Namespace, b.Reserved, b.Hash, string(digest)})...)
}

// Verify returns who of those allowed signed a message: the principals of the line
// and the key's fingerprint. ErrNotSigned if nobody did.
func (a Allowed) Verify(message, signature []byte) (string, error) {
	no := func(format string, args ...any) (string, error) {
		return "", fmt.Errorf("%w: %s", ErrNotSigned, fmt.Sprintf(format, args...))
	}
	block, _ := pem.Decode(signature)
	if block == nil || block.Type != armorType || !bytes.HasPrefix(block.Bytes, []byte(preamble)) {
		return no("the signature is not of ssh-keygen -Y sign")
	}
	var b blob
	if err := ssh.Unmarshal(block.Bytes[len(preamble):], &b); err != nil {
		return no("the signature: %v", err)
	}
	if b.Version != version || b.Namespace != Namespace {
		return no("the signature is of version %d for %.40q", b.Version, b.Namespace)
	}
	key, err := ssh.ParsePublicKey([]byte(b.PublicKey))
	if err != nil {
		return no("the signature's key: %v", err)
	}
	who, ok := a.find(key)
	if !ok {
		return no("it is signed by %s", ssh.FingerprintSHA256(key))
	}
	var digest []byte
	switch b.Hash {
	case "sha256":
		sum := sha256.Sum256(message)
		digest = sum[:]
	case "sha512":
		sum := sha512.Sum512(message)
		digest = sum[:]
	default:
		return no("the signature's hash is %.40q", b.Hash)
	}
	var s ssh.Signature
	if err := ssh.Unmarshal([]byte(b.Signature), &s); err != nil {
		return no("the signature: %v", err)
	}
	if s.Format == ssh.KeyAlgoRSA {
		return no("the signature is by SHA-1")
	}
	if err := key.Verify(b.signed(digest), &s); err != nil {
		return no("the signature of %s is not of this content", who)
	}
	return who, nil
}

func read(file string) ([]byte, error) {
	f, err := os.Open(file)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrBadKey, err)
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, maxFile))
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrBadKey, err)
	}
	return data, nil
}
