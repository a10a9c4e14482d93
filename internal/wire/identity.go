package wire

import (
	"encoding/json"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
)

// Position says where a message is stored. A sequence alone is no identity: a
// stream that is created again, or that loses its tail in a power cut, uses
// its sequences a second time. The creation time of the stream and the stored
// time of the message tell those lives apart.
type Position struct {
	Stream   string
	Created  time.Time // of the stream
	Sequence uint64
	Stored   time.Time // of the message
}

// Source is the value of [HeaderSource].
func (p Position) Source() string { return p.Stream + "/" + strconv.FormatUint(p.Sequence, 10) }

// HopID is the Nats-Msg-Id of the message that moves what is stored here to
// another stream. It names the message that is moved, not the event: a crash
// between publish and ack repeats nothing, and a second life of the same event
// (retry, replay, dead letter again) is never taken for a duplicate.
func (p Position) HopID() string { return string(p.appendHopID(nil)) }

// FanoutID is the Nats-Msg-Id of one endpoint's delivery of the event that is
// stored here.
func (p Position) FanoutID(endpoint string) string {
	b := p.appendHopID(make([]byte, 0, len(p.Stream)+len(endpoint)+44))
	b = append(b, '/')
	return string(append(b, endpoint...))
}

func (p Position) appendHopID(b []byte) []byte {
	b = append(b, p.Stream...)
	b = append(b, '/')
	b = strconv.AppendUint(b, p.Sequence, 10)
	b = append(b, '/')
	return strconv.AppendInt(b, p.Stored.UnixNano(), 10)
}

// Kind says what a delivery was made from.
type Kind string

// The kinds of [Key].
const (
	KindEvent  Kind = "event"  // fan-out of an event
	KindLetter Kind = "letter" // replay of a dead letter
)

// Key is the internal identity of a delivery: what it was made from, and the
// endpoint. It is 26 lower-case base32 characters and never leaves NATS.
func Key(kind Kind, p Position, endpoint string) string {
	var d digest
	d.text(string(kind))
	d.position(p)
	d.text(endpoint)
	return d.sum("")
}

// EventID is the webhook-id of an event: "msg_" and 26 lower-case base32
// characters of a SHA-256 over the first of these that the event has:
//
//   - its CloudEvents source and id (binary mode: the headers ce-source and
//     ce-id; structured mode: the attributes in the body of an
//     application/cloudevents+json event),
//   - its stream and its producer's Nats-Msg-Id,
//   - its position.
//
// byPosition passes over the producer's ids. The result is the same on every
// attempt, endpoint and replay. Nothing is ever dropped because of it. For streams
// that are filled from others there is [SourcedEventID].
//
// Promise 2: a duplicate has the same webhook-id.
func EventID(h nats.Header, data []byte, p Position, byPosition bool) string {
	if !byPosition && len(h) > 0 {
		if source, id, ok := cloudEvent(h, data); ok {
			return eventID("cloudevents", source, id)
		}
		if id := h.Get(nats.MsgIdHdr); id != "" {
			return eventID("msg-id", p.Stream, id)
		}
	}
	var d digest
	d.text("position")
	d.position(p)
	return d.sum(eventPrefix)
}

const eventPrefix = "msg_"

func eventID(parts ...string) string {
	var d digest
	for _, part := range parts {
		d.text(part)
	}
	return d.sum(eventPrefix)
}

// cloudEvent finds the identifying attributes of a CloudEvent (CloudEvents
// 1.0, NATS protocol binding 1.0).
func cloudEvent(h nats.Header, data []byte) (source, id string, ok bool) {
	if source, id = HeaderValue(h, "ce-source"), HeaderValue(h, "ce-id"); source != "" && id != "" {
		return source, id, true
	}
	mediaType, _, _ := strings.Cut(HeaderValue(h, "Content-Type"), ";")
	if !strings.EqualFold(strings.TrimSpace(mediaType), "application/cloudevents+json") {
		return "", "", false
	}
	var attributes struct {
		Source string `json:"source"`
		ID     string `json:"id"`
	}
	if json.Unmarshal(data, &attributes) != nil || attributes.Source == "" || attributes.ID == "" {
		return "", "", false
	}
	return attributes.Source, attributes.ID, true
}
