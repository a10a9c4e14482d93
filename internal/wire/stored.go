package wire

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// Everything that an installation stores has one version: what its streams and its
// state bucket are like, the headers and identities of the messages in them, and the
// values in the bucket. ARCHITECTURE.md lists the versions. The number stands in the
// metadata of every stream of ours, where it is kept by a backup and by whoever edits
// the stream. A stream without one has version 1: so it was before there were numbers.
const (
	// StoredWritten is the version that this program stores.
	StoredWritten = 1
	// StoredRead is the newest version that it can read. It is raised a release
	// before StoredWritten, so that gateways of both work beside each other.
	StoredRead = 1

	storedKey = "fanjet.version" // whatever the prefix of the names
)

// StoredMetadata is the metadata of a stream that holds what has a version.
func StoredMetadata(version int) map[string]string {
	return map[string]string{storedKey: strconv.Itoa(version)}
}

// CheckStored returns a [NewerError] if what a stream with this metadata holds is not
// for this program to read.
func CheckStored(stream string, metadata map[string]string) error {
	text, ok := metadata[storedKey]
	if version, err := strconv.Atoi(text); !ok || err == nil && 1 <= version && version <= StoredRead {
		return nil
	}
	return &NewerError{Streams: []string{stream}, Version: text}
}

// StoredVersion is the version of what a stream holds, if [CheckStored] passes it.
func StoredVersion(metadata map[string]string) int {
	version, err := strconv.Atoi(metadata[storedKey])
	if err != nil {
		return 1
	}
	return version
}

// NewerError means that streams hold what only a newer program reads.
type NewerError struct {
	Streams []string
	Version string // as it stands there
}

// Error says what is wrong and what to do, in one sentence.
func (e *NewerError) Error() string {
	streams := "stream " + e.Streams[0]
	if len(e.Streams) > 1 {
		streams = "streams " + strings.Join(e.Streams, ", ")
	}
	return fmt.Sprintf("%s: %s; fix: %s", streams, e.What(), e.Fix())
}

// What says what is wrong.
func (e *NewerError) What() string {
	version := e.Version
	if _, err := strconv.Atoi(version); err != nil {
		version = strconv.Quote(version)
	}
	return fmt.Sprintf("a newer Fanjet stored version %s there (%s), and this one reads versions up to %d", version, storedKey, StoredRead)
}

// Fix says what to do.
func (e *NewerError) Fix() string {
	return "run the newer Fanjet again, or go back to a copy of the store from before the upgrade"
}

// Join adds the streams of another one.
func (e *NewerError) Join(other *NewerError) *NewerError {
	if e == nil {
		return other
	}
	return &NewerError{Streams: slices.Concat(e.Streams, other.Streams), Version: e.Version}
}
