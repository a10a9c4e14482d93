package dlq

import (
	"maps"
	"strconv"
	"time"

	"github.com/nats-io/nats.go"

	"fanjet/internal/wire"
)

// Reason says why a delivery was given up.
type Reason string

// The reasons. They are stored in letters and used as metric labels.
const (
	ReasonExhausted          Reason = "exhausted"           // every attempt of the schedule failed
	ReasonExpired            Reason = "expired"             // older than retry.max_age
	ReasonRejected           Reason = "rejected"            // answered with a status in dead_letter_on
	ReasonBlockedDestination Reason = "blocked_destination" // the egress policy forbids the address
	ReasonTransformFailed    Reason = "transform_failed"    // the body could not be made
	ReasonEndpointRemoved    Reason = "endpoint_removed"    // the endpoint is gone from the configuration
	ReasonTooLarge           Reason = "too_large"           // no room for the internal headers; kept by reference
	ReasonUnpublishable      Reason = "unpublishable"       // NATS refused it when it was moved
)

// Reasons returns every reason.
func Reasons() []Reason {
	return []Reason{
		ReasonExhausted, ReasonExpired, ReasonRejected, ReasonBlockedDestination,
		ReasonTransformFailed, ReasonEndpointRemoved, ReasonTooLarge, ReasonUnpublishable,
	}
}

// Headers that only letters carry, besides the internal ones of package wire.
const (
	HeaderReason   = "Fanjet-Reason"   // see Reason
	HeaderAttempts = "Fanjet-Attempts" // attempts made in this generation
)

// NewMessage makes the dead letter of a delivery, ready to be published.
// attempts is the number of attempts made in this generation. hopID becomes the
// Nats-Msg-Id and names the message that the letter is made from, so that a
// crash between publishing the letter and settling that message leaves one
// letter: [wire.Position.HopID], or at fan-out [wire.Position.FanoutID].
//
// eventHeaders may be those of the stored message: only the event's own travel.
// With [ReasonTooLarge] the letter is kept by reference: it has neither the
// body nor the event's headers, which stay in the source stream, at
// [wire.Envelope.Source]; a replay fetches them from there.
//
// The message shares data with the caller and is safe to change otherwise.
func NewMessage(names wire.Names, env wire.Envelope, reason Reason, attempts int, eventHeaders nats.Header, data []byte, hopID string) *nats.Msg {
	if reason == ReasonTooLarge {
		eventHeaders, data = nil, nil
	}
	h := wire.EventHeaders(eventHeaders)
	env.WriteTo(h)
	maps.Copy(h, VerdictHeader(reason, attempts))
	h[nats.MsgIdHdr] = []string{hopID}
	return &nats.Msg{Subject: names.DeadLetterSubject(env.Endpoint), Header: h, Data: data}
}

// VerdictHeader marks a delivery that has been given up but whose letter was not
// taken yet; [Verdict] reads it. Only Fanjet can have set it: fan-out strips it
// from events, and replay from letters.
func VerdictHeader(reason Reason, attempts int) nats.Header {
	return nats.Header{HeaderReason: {string(reason)}, HeaderAttempts: {strconv.Itoa(attempts)}}
}

// Verdict returns why a delivery has been given up already and after how many
// attempts, or no reason if it has not.
func Verdict(h nats.Header) (reason Reason, attempts int) {
	reason = Reason(h.Get(HeaderReason))
	if reason != "" { // hardly any delivery has one
		attempts, _ = strconv.Atoi(h.Get(HeaderAttempts))
	}
	return reason, attempts
}

// Letter is a dead letter as it is stored. Its JSON form is what `fanjet dlq`
// prints.
type Letter struct {
	Seq          uint64    `json:"seq"` // in the dead-letter stream
	EventID      string    `json:"event_id"`
	Key          string    `json:"key"`
	Endpoint     string    `json:"endpoint"`
	Subject      string    `json:"subject"` // of the event
	Source       string    `json:"source"`  // STREAM/sequence of the event
	Accepted     time.Time `json:"accepted,omitzero"`
	Attempts     int       `json:"attempts"` // made in this generation
	Generation   int       `json:"generation"`
	FirstAttempt time.Time `json:"first_attempt,omitzero"`
	LastAttempt  time.Time `json:"last_attempt,omitzero"`
	LastStatus   int       `json:"last_status"` // 0: there was no response
	LastError    string    `json:"last_error"`
	Reason       Reason    `json:"reason"`
	DeadLettered time.Time `json:"dead_lettered"` // when JetStream stored the letter
	Size         int       `json:"size"`          // bytes of the body in the letter

	// ByReference means that the body and the event's headers are in the source
	// stream only, see [Queue.Resolve].
	ByReference bool `json:"by_reference,omitempty"`

	// Problem says why the message is no letter of Fanjet and cannot be
	// replayed: somebody else published it. Empty for every letter.
	Problem string `json:"problem,omitempty"`

	// Headers are the event's own, and Data is its body. Encoded, Data is
	// base64, so that every body survives; nil ones are left out.
	Headers nats.Header `json:"headers,omitzero"`
	Data    []byte      `json:"data,omitzero"`

	read time.Time // when it was asked for: it was in the queue then
}
