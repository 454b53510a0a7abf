// Package seal encrypts the files of a checkpoint by age, and opens them again.
package seal

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"filippo.io/age"
	"filippo.io/age/agessh"
)

// Errors that callers tell apart.
var (
	// ErrBadKey is a recipient, an identity or a passphrase that cannot be used.
	ErrBadKey = errors.New("unusable key")
	// ErrNoIdentity is a checkpoint for whose opening nothing was given.
	ErrNoIdentity = errors.New("the checkpoint is encrypted")
	// ErrWrongIdentity is one that was not encrypted to what was given.
	ErrWrongIdentity = errors.New("the checkpoint is encrypted to somebody else")
)

// Recipients are who can open what is sealed.
type Recipients struct {
	list []age.Recipient
	// Names are their public strings; "passphrase" for one.
	Names []string
}

// ParseRecipients reads age and SSH public keys, or @FILE with one on each
// line; or a passphrase from the first line of a file. It returns nothing for
// nothing.
func ParseRecipients(to []string, passphraseFile string) (*Recipients, error) {
	r := &Recipients{}
	for _, text := range to {
		if err := r.add(text); err != nil {
			return nil, fmt.Errorf("%w: recipient %w", ErrBadKey, err)
		}
	}
	switch {
	case passphraseFile == "" && r.list == nil:
		return nil, nil
	case passphraseFile == "":
		return r, nil
	case r.list != nil:
		return nil, fmt.Errorf("%w: a passphrase cannot be combined with other recipients", ErrBadKey)
	}
	phrase, err := readPassphrase(passphraseFile)
	if err != nil {
		return nil, err
	}
	s, err := age.NewScryptRecipient(phrase)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrBadKey, err)
	}
	return &Recipients{list: []age.Recipient{s}, Names: []string{"passphrase"}}, nil
}

func (r *Recipients) add(text string) error {
	text = strings.TrimSpace(text)
	if file, ok := strings.CutPrefix(text, "@"); ok {
		data, err := read(file)
		if err != nil {
			return err
		}
		for line := range strings.Lines(string(data)) {
			if line = strings.TrimSpace(line); line == "" || line[0] == '#' || line[0] == '@' {
				continue
			}
			if err := r.add(line); err != nil {
				return fmt.Errorf("of %s: %w", file, err)
			}
		}
		return nil
	}
	var (
		one age.Recipient
		err error
	)
	switch {
	case strings.HasPrefix(text, "ssh-"):
		one, err = agessh.ParseRecipient(text)
		// The rest is a comment, often a name.
		text = strings.Join(strings.Fields(text)[:min(2, len(strings.Fields(text)))], " ")
	default:
		one, err = age.ParseX25519Recipient(text)
	}
	if err != nil {
		// A secret key in the wrong place must not be shown.
		return fmt.Errorf("%.12q is neither age1..., ssh-... nor @FILE", text)
	}
	r.list, r.Names = append(r.list, one), append(r.Names, text)
	return nil
}

// Identities open what is sealed.
type Identities []age.Identity

// ParseIdentities reads an age identity file or an SSH private key, and a
// passphrase from the first line of a file; either may be empty.
func ParseIdentities(file, passphraseFile string) (Identities, error) {
	var list Identities
	if file != "" {
		data, err := read(file)
		if err != nil {
			return nil, err
		}
		var one age.Identity
		if bytes.HasPrefix(data, []byte("-----BEGIN")) {
			one, err = agessh.ParseIdentity(data)
			list = append(list, one)
		} else {
			list, err = age.ParseIdentities(bytes.NewReader(data))
		}
		if err != nil {
			return nil, fmt.Errorf("%w: identity %s: %w", ErrBadKey, file, err)
		}
	}
	if passphraseFile != "" {
		phrase, err := readPassphrase(passphraseFile)
		if err != nil {
			return nil, err
		}
		s, err := age.NewScryptIdentity(phrase)
		if err != nil {
			return nil, fmt.Errorf("%w: %w", ErrBadKey, err)
		}
		list = append(list, s)
	}
	return list, nil
}

func readPassphrase(file string) (string, error) {
	data, err := read(file)
	if err != nil {
		return "", err
	}
	line, _, _ := strings.Cut(string(data), "\n")
	if line = strings.TrimSuffix(line, "\r"); line == "" {
		return "", fmt.Errorf("%w: the first line of %s is not a passphrase", ErrBadKey, file)
	}
	return line, nil
}

const maxKeyFile = 1 << 20

func read(file string) ([]byte, error) {
	f, err := os.Open(file)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrBadKey, err)
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, maxKeyFile))
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrBadKey, err)
	}
	return data, nil
}
