// Package search finds a pattern in the memory of a checkpoint.
package search

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"regexp"
	"strings"
	"unicode/utf16"
)

// ErrPattern is a pattern that cannot be searched for.
var ErrPattern = errors.New("bad pattern")

const (
	// maxLiteral is the length of the longest literal, in bytes.
	maxLiteral = 64 << 10
	// maxMatch is how long a match of a regular expression may be to be found for sure,
	// in bytes.
	maxMatch = 4 << 10
)

// Pattern is what is searched for.
type Pattern struct {
	literal []byte
	re      *regexp.Regexp
}

// Literal is the pattern of a text as it is.
func Literal(text string) (Pattern, error) { return literal([]byte(text)) }

// Hex is the pattern of bytes in hexadecimal, as in "de ad beef".
func Hex(text string) (Pattern, error) {
	data, err := hex.DecodeString(strings.Join(strings.Fields(text), ""))
	if err != nil {
		return Pattern{}, fmt.Errorf("%w: %w", ErrPattern, err)
	}
	return literal(data)
}

// UTF16 is the pattern of a text as programs have it that keep strings in UTF-16, in
// the byte order of x86 and ARM.
func UTF16(text string) (Pattern, error) {
	var data []byte
	for _, unit := range utf16.Encode([]rune(text)) {
		data = binary.LittleEndian.AppendUint16(data, unit)
	}
	return literal(data)
}

func literal(data []byte) (Pattern, error) {
	if len(data) == 0 || len(data) > maxLiteral {
		return Pattern{}, fmt.Errorf("%w: it has %d bytes, want 1 to %d", ErrPattern, len(data), maxLiteral)
	}
	return Pattern{literal: data}, nil
}

// Regexp is the pattern of a regular expression, https://golang.org/s/re2syntax. One
// that matches nothing at all is refused: it would match everywhere.
func Regexp(text string) (Pattern, error) {
	re, err := regexp.Compile(text)
	if err != nil {
		return Pattern{}, fmt.Errorf("%w: %w", ErrPattern, err)
	}
	if re.MatchString("") {
		return Pattern{}, fmt.Errorf("%w: %q matches the empty text", ErrPattern, text)
	}
	return Pattern{re: re}, nil
}

// find returns where the first match in data begins and ends; -1 for none.
func (p Pattern) find(data []byte) (start, end int) {
	if p.re == nil {
		start = bytes.Index(data, p.literal)
		return start, start + len(p.literal)
	}
	at := p.re.FindIndex(data)
	if at == nil {
		return -1, -1
	}
	return at[0], at[1]
}

// longest is how long a match may be.
func (p Pattern) longest() int {
	if p.re == nil {
		return len(p.literal)
	}
	return maxMatch
}
