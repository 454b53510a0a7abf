// Package redact hides values that look secret, in environments and arguments.
package redact

import (
	"regexp"
	"strings"
)

// Hidden stands for a value that is not shown.
const Hidden = "(hidden)"

var (
	// names are of variables, options and headers whose values are secret.
	names = regexp.MustCompile(`(?i)passw|passphrase|(^|[_-])pass($|[_-])|_pwd$|secret|token|api[_-]?key|access[_-]?key|private|credential|auth($|[_-]|orization)|cookie|jwt|bearer|dsn$|[_-]key$|^key$|salt$`)
	// values are known by themselves: keys of well-known services, JSON web tokens, PEM.
	values = regexp.MustCompile(`\b(AKIA|ASIA)[0-9A-Z]{16}\b|\bgh[opsur]_[A-Za-z0-9]{20,}|\bgithub_pat_\w{20,}|\bglpat-[\w-]{16,}|\bxox[abeoprs]-[\w-]{10,}|\bsk-[\w-]{16,}|\beyJ[\w-]{8,}\.[\w-]{8,}\.[\w-]*|-----BEGIN [A-Z ]*PRIVATE KEY-----|\bAGE-SECRET-KEY-\w+`)
	// password is that in a URL.
	password = regexp.MustCompile(`([a-zA-Z][a-zA-Z0-9+.-]*://[^\s/:@]*):[^\s/@]+@`)
	header   = regexp.MustCompile(`^([A-Za-z][A-Za-z0-9-]*): *(.+)$`)
)

// value hides a value that is secret by itself, or the password in it.
func value(text string) string {
	if values.MatchString(text) {
		return Hidden
	}
	return password.ReplaceAllString(text, "$1:"+Hidden+"@")
}

// Env returns an environment, of NAME=VALUE, without values that look secret.
func Env(list []string) []string {
	shown := make([]string, len(list))
	for i, text := range list {
		shown[i] = assignment(text)
	}
	return shown
}

func assignment(text string) string {
	name, v, ok := strings.Cut(text, "=")
	switch {
	case !ok:
		return value(text)
	case v != "" && names.MatchString(name):
		return name + "=" + Hidden
	}
	return name + "=" + value(v)
}

// Args returns a command line without values that look secret: those of options and
// assignments with such a name, of headers, and in URLs.
func Args(list []string) []string {
	shown := make([]string, len(list))
	follows := false // what follows is the value of a secret option
	for i, text := range list {
		option := strings.HasPrefix(text, "-")
		h := header.FindStringSubmatch(text)
		switch {
		case follows && !option:
			shown[i] = Hidden
		case h != nil && names.MatchString(h[1]):
			shown[i] = h[1] + ": " + Hidden
		default:
			shown[i] = assignment(text)
		}
		follows = i > 0 && option && !strings.Contains(text, "=") && names.MatchString(text)
	}
	return shown
}
