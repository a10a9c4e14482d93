package wire

import "time"

// Mark says up to which event of a source any may have been handled by a matcher that
// lived until now. It is stored as JSON in the state bucket, under [MarkKey], and raised
// before the events are handled. Programs that know nothing of it pass it over.
type Mark struct {
	Created time.Time `json:"created"` // of the stream
	UpTo    uint64    `json:"upto"`    // sequence
	By      string    `json:"by"`      // the matcher that wrote it; each has another name
}

// MarkKey is the key of a source's mark in the state bucket.
func MarkKey(stream string) string { return "direct." + stream }
