package wire

import "time"

// Cursor says up to which event of a source all were fanned out, or passed over
// because an operator wanted it. It is stored as JSON in the state bucket, under
// [CursorKey]. A sequence alone would not do: a stream that was created again, or
// that lost its tail, uses it for another event.
type Cursor struct {
	Created  time.Time `json:"created"`  // of the stream
	Sequence uint64    `json:"sequence"` // of the event
	Stored   time.Time `json:"stored"`   // of the event
	// Delivery is the consumer's number of the delivery up to which all are
	// settled; 0 where that is not known: an operator wrote the cursor, or an
	// earlier version.
	Delivery uint64 `json:"delivery,omitempty"`
}

// CursorKey is the key of a source's cursor in the state bucket.
func CursorKey(stream string) string { return "cursor." + stream }
