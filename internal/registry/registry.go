// Package registry keeps checkpoints in OCI registries: an archive in pieces, each a
// layer of one manifest. What comes back is an archive, which is not trusted either:
// docs/design/0007-registries.md.
package registry

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"syscall"
	"time"

	"github.com/distribution/reference"
	"oras.land/oras-go/v2/errdef"
	"oras.land/oras-go/v2/registry/remote"
	"oras.land/oras-go/v2/registry/remote/auth"
	"oras.land/oras-go/v2/registry/remote/credentials"
	"oras.land/oras-go/v2/registry/remote/errcode"
	"oras.land/oras-go/v2/registry/remote/retry"
)

// Errors that callers tell apart.
var (
	// ErrBadReference is one that Docker would not take either.
	ErrBadReference = errors.New("bad reference")
	// ErrNotFound is a reference that the registry does not have.
	ErrNotFound = errors.New("not in the registry")
	// ErrUnauthorized is a registry that wants other credentials.
	ErrUnauthorized = errors.New("the registry wants a login")
	// ErrRegistry is a registry that fails, or does not answer.
	ErrRegistry = errors.New("the registry failed")
)

// Remote is a tag or a digest in a repository of a registry.
type Remote struct {
	repo *remote.Repository
	// Reference is the whole of it, as Docker understands it: with the registry's
	// name, and with the tag latest if none was given.
	Reference string
	// Host is the registry's name.
	Host string

	repository, tag string // or a digest
}

// Options are of the connection.
type Options struct {
	// PlainHTTP speaks HTTP without TLS; nil does so with this host alone, as Docker
	// does.
	PlainHTTP *bool
	// UserAgent is what the registry is told.
	UserAgent string
}

// Open takes a reference apart, as docker pull does, and reads where Docker's
// configuration ($DOCKER_CONFIG, ~/.docker/config.json) has credentials for its
// registry. Nothing is connected. ErrBadReference is the error to expect.
func Open(text string, o Options) (*Remote, error) {
	named, err := reference.ParseNormalizedNamed(text)
	if err != nil {
		return nil, fmt.Errorf("%w %q: %w", ErrBadReference, text, err)
	}
	named = reference.TagNameOnly(named)
	r := &Remote{Reference: named.String(), Host: reference.Domain(named), repository: named.Name()}
	switch n := named.(type) {
	case reference.Digested:
		r.tag = n.Digest().String()
	case reference.Tagged:
		r.tag = n.Tag()
	}
	if r.repo, err = remote.NewRepository(named.Name()); err != nil {
		return nil, fmt.Errorf("%w %q: %w", ErrBadReference, text, err)
	}
	store, err := credentials.NewStoreFromDocker(credentials.StoreOptions{})
	if err != nil {
		return nil, fmt.Errorf("docker's credentials: %w", err)
	}
	client := &auth.Client{Client: &http.Client{Transport: transport()}, Credential: credentials.Credential(store), Cache: auth.NewCache(), Header: http.Header{}}
	client.SetUserAgent(o.UserAgent)
	r.repo.Client = client
	r.repo.PlainHTTP = local(r.Host)
	if o.PlainHTTP != nil {
		r.repo.PlainHTTP = *o.PlainHTTP
	}
	r.repo.SkipReferrersGC = true // many registries let nobody delete
	return r, nil
}

// answerLimit is for a registry to answer when it has the whole of a request: one that
// says nothing at all must not keep a command for ever.
const answerLimit = 2 * time.Minute

func transport() http.RoundTripper {
	base := http.DefaultTransport
	if t, ok := base.(*http.Transport); ok { // nobody replaced it
		t = t.Clone()
		t.ResponseHeaderTimeout = answerLimit
		base = t
	}
	again := &retry.GenericPolicy{Retryable: retryable, Backoff: retry.DefaultBackoff, MinWait: 200 * time.Millisecond, MaxWait: 3 * time.Second, MaxRetry: 5}
	return &retry.Transport{Base: base, Policy: func() retry.Policy { return again }}
}

// retryable adds a connection that ended before the answer. net/http tries again by
// itself only if the connection had been used before.
func retryable(resp *http.Response, err error) (bool, error) {
	if errors.Is(err, io.EOF) || errors.Is(err, syscall.ECONNRESET) {
		return true, nil
	}
	return retry.DefaultPredicate(resp, err)
}

// ByDigest is a reference to one manifest of the repository.
func (r *Remote) ByDigest(digest string) string { return r.repository + "@" + digest }

// local says whether a registry is on this host.
func local(host string) bool {
	name, _, err := net.SplitHostPort(host)
	if err != nil {
		name = host
	}
	ip := net.ParseIP(name)
	return name == "localhost" || ip != nil && ip.IsLoopback()
}

// failed says what an error of the registry is.
func (r *Remote) failed(err error) error {
	var response *errcode.ErrorResponse
	switch {
	case err == nil, errors.Is(err, context.Canceled):
		return err
	case errors.Is(err, errdef.ErrNotFound):
		return fmt.Errorf("%w: %s", ErrNotFound, r.Reference)
	case errors.Is(err, auth.ErrBasicCredentialNotFound),
		errors.As(err, &response) && (response.StatusCode == http.StatusUnauthorized || response.StatusCode == http.StatusForbidden):
		return fmt.Errorf("%w: %s: %w", ErrUnauthorized, r.Host, err)
	}
	return fmt.Errorf("%w: %s: %w", ErrRegistry, r.Host, err)
}

// passing says whether it may be otherwise at the next try.
func passing(err error) bool {
	var response *errcode.ErrorResponse
	if errors.As(err, &response) {
		return response.StatusCode >= 500 || response.StatusCode == http.StatusTooManyRequests
	}
	var network net.Error
	return errors.As(err, &network)
}
