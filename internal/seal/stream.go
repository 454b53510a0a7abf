package seal

import (
	"errors"
	"fmt"
	"io"

	"filippo.io/age"
)

// Intro begins what Encrypt writes.
const Intro = "age-encryption.org/v1\n"

// Encrypt returns a writer whose data only the recipients can read, once it is
// closed. It keeps no more than a chunk in memory.
func Encrypt(w io.Writer, to *Recipients) (io.WriteCloser, error) { return age.Encrypt(w, to.list...) }

// Decrypt returns a reader of what Encrypt wrote. Data that was changed or cut is
// an error of its Read, before the chunk is handed out. ErrNoIdentity and
// ErrWrongIdentity are the errors to expect.
func Decrypt(r io.Reader, ids Identities) (io.Reader, error) {
	if len(ids) == 0 {
		return nil, ErrNoIdentity
	}
	plain, err := age.Decrypt(r, ids...)
	var no *age.NoIdentityMatchError
	if errors.As(err, &no) {
		return nil, ErrWrongIdentity
	}
	if err != nil {
		return nil, fmt.Errorf("decrypting: %w", err)
	}
	return plain, nil
}
