package signature

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"slices"
	"strings"

	"golang.org/x/crypto/ssh"
)

// Allowed are whose signatures count.
type Allowed []signer

type signer struct {
	who string
	key ssh.PublicKey
}

// ReadAllowed reads public keys, one on each line: as in id_ed25519.pub, or as in
// the allowed_signers file of ssh-keygen. Of the options of the latter it knows
// namespaces alone, and refuses the rest. ErrBadKey is the error to expect.
func ReadAllowed(file string) (Allowed, error) {
	data, err := read(file)
	if err != nil {
		return nil, err
	}
	var list Allowed
	n := 0
	for line := range strings.Lines(string(data)) {
		n++
		if line = strings.TrimSpace(line); line == "" || line[0] == '#' {
			continue
		}
		s, counts, err := parse(line)
		if err != nil {
			return nil, fmt.Errorf("%w: %s: line %d: %w", ErrBadKey, file, n, err)
		}
		if counts {
			list = append(list, s)
		}
	}
	if list == nil {
		return nil, fmt.Errorf("%w: %s allows no key to sign for %s", ErrBadKey, file, Namespace)
	}
	return list, nil
}

// parse reads a line: [PRINCIPALS [OPTIONS]] TYPE KEY [COMMENT].
func parse(line string) (s signer, counts bool, err error) {
	words := strings.Fields(line)
	at := slices.IndexFunc(words, func(w string) bool { return slices.Contains(kinds, w) })
	if at < 0 || at > 2 || at+1 >= len(words) {
		return s, false, fmt.Errorf("no key of type %s", strings.Join(kinds, ", "))
	}
	raw, err := base64.StdEncoding.DecodeString(words[at+1])
	if err != nil {
		return s, false, err
	}
	if s.key, err = ssh.ParsePublicKey(raw); err != nil {
		return s, false, err
	}
	s.who = ssh.FingerprintSHA256(s.key)
	if at > 0 {
		s.who = words[0] + " (" + s.who + ")"
	}
	if at < 2 {
		return s, true, nil
	}
	list, ok := strings.CutPrefix(words[1], "namespaces=")
	if !ok || strings.Contains(strings.Trim(list, `"`), `"`) {
		return s, false, fmt.Errorf("option %.40q is not known", words[1])
	}
	return s, slices.Contains(strings.Split(strings.Trim(list, `"`), ","), Namespace), nil
}

func (a Allowed) find(key ssh.PublicKey) (string, bool) {
	for _, s := range a {
		if bytes.Equal(s.key.Marshal(), key.Marshal()) {
			return s.who, true
		}
	}
	return "", false
}
