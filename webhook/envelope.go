package webhook

import (
	"fmt"
	"iter"
	"net/http"
	"strconv"
	"strings"
)

const (
	// maxIDLen bounds the id, in bytes. Fanjet's have 30.
	maxIDLen = 256
	// maxTimestamp is the end of the year 9999 in Unix seconds.
	maxTimestamp = 253402300799
)

// envelope is what the headers of a webhook say. Nothing of it is verified.
type envelope struct {
	id        string
	timestamp int64    // Unix seconds
	lines     []string // webhook-signature headers
}

// readEnvelope reads the headers. It is strict: what it accepts has one reading
// only, also for those who see the request before or after.
func readEnvelope(header http.Header) (e envelope, err error) {
	if e.id, err = single(header, HeaderID); err != nil {
		return e, err
	}
	timestamp, err := single(header, HeaderTimestamp)
	if err != nil {
		return e, err
	}
	e.lines = header[HeaderSignature]
	entries := 0
	for _, line := range e.lines {
		entries += strings.Count(line, " ") + 1
	}
	if entries == 0 || len(e.lines) == 1 && e.lines[0] == "" {
		return e, missing(HeaderSignature)
	}
	// Each entry costs a stranger nothing to send, and here a computation.
	if entries > maxSecrets {
		return e, fmt.Errorf("%w: %s has %d entries, at most %d are allowed", ErrHeader, HeaderSignature, entries, maxSecrets)
	}
	if err := checkID(e.id); err != nil {
		return e, err
	}
	e.timestamp, err = strconv.ParseInt(timestamp, 10, 64)
	// The signature is over the number; "+1" or "01" would be signed as "1".
	if err != nil || strconv.FormatInt(e.timestamp, 10) != timestamp {
		return e, fmt.Errorf("%w: %s is not a number of seconds", ErrHeader, HeaderTimestamp)
	}
	return e, checkTimestamp(e.timestamp)
}

// signatures yields what follows version in the entries that begin with it.
// Entries of other versions are passed over, as the standard wants it.
func (e envelope) signatures(version string) iter.Seq[string] {
	return func(yield func(string) bool) {
		for _, line := range e.lines {
			for entry := range strings.SplitSeq(line, " ") {
				if text, ok := strings.CutPrefix(entry, version); ok && !yield(text) {
					return
				}
			}
		}
	}
}

// single returns a header that must be there once.
func single(header http.Header, name string) (string, error) {
	values := header[name]
	switch {
	case len(values) == 0 || len(values) == 1 && values[0] == "":
		return "", missing(name)
	case len(values) > 1:
		return "", fmt.Errorf("%w: %s is there %d times", ErrHeader, name, len(values))
	}
	return values[0], nil
}

func missing(name string) error { return fmt.Errorf("%w: %s", ErrMissingHeader, name) }

// checkID refuses ids with a dot. Dots separate the parts of what is signed: a
// webhook "a.1.2.b" could be sent again with the id "a.1" and the timestamp 2.
func checkID(id string) error {
	switch {
	case id == "":
		return missing(HeaderID)
	case len(id) > maxIDLen:
		return fmt.Errorf("%w: %s is longer than %d bytes", ErrHeader, HeaderID, maxIDLen)
	case strings.Contains(id, "."):
		return fmt.Errorf("%w: %s contains a dot", ErrHeader, HeaderID)
	}
	return nil
}

func checkTimestamp(seconds int64) error {
	if seconds < 0 || seconds > maxTimestamp {
		return fmt.Errorf("%w: %s is not in the years 1970 to 9999", ErrHeader, HeaderTimestamp)
	}
	return nil
}
