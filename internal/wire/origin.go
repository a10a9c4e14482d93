package wire

import (
	"strings"

	"github.com/nats-io/nats.go"
)

// HeaderStreamSource is where the server says from which stream it took a message
// of a stream that is filled from others ("sources"), since ADR-60 of NATS:
//
//	<stream> <sequence> <filter> <transform> <subject> [<identity of the stream>]
//
// The stream is followed by ":" and a hash of the API prefix if it is in another
// account or domain, and by ":C=" and a hash if a durable consumer reads it
// (nats-server 2.15.3, stream.go: composeIName, genSourceHeader).
const HeaderStreamSource = "Nats-Stream-Source"

// SourcedEventID is [EventID] for a stream that is filled from others, of an event
// that has [HeaderStreamSource]. The producers of those streams know nothing of
// each other, and may use the same Nats-Msg-Id: so its place of origin, the stream
// and the subject in it, is part of the identity. What changes when the same
// event is taken over again, such as its sequence, is not. The subject tells
// origins apart where a stream is filled from one that is itself filled from
// others: of those the server names the last one only.
//
// A caller must know that the header is the server's word: a producer could
// have written it into any other stream.
func SourcedEventID(h nats.Header, data []byte, p Position, byPosition bool) string {
	id := h.Get(nats.MsgIdHdr)
	stream, subject, ok := origin(h)
	if !ok || id == "" || byPosition {
		return EventID(h, data, p, byPosition)
	}
	if source, id, ok := cloudEvent(h, data); ok {
		return eventID("cloudevents", source, id)
	}
	return eventID("sourced", p.Stream, stream, subject, id)
}

// origin reads from which stream, and from which subject of it, a message was
// taken over. Servers of long ago wrote no subject.
func origin(h nats.Header) (stream, subject string, ok bool) {
	values := h[HeaderStreamSource]
	if len(values) == 0 {
		return "", "", false
	}
	text := values[len(values)-1] // what the server adds comes last
	if rest, ok := strings.CutPrefix(text, "$JS.ACK."); ok {
		tokens := strings.Split(rest, ".")
		switch n := len(tokens); {
		case n == 7:
			return tokens[0], "", tokens[0] != ""
		case n >= 9: // with a domain and the hash of an account
			return tokens[2], "", tokens[2] != ""
		}
		return "", "", false
	}
	fields := strings.Split(text, " ")
	stream = withoutConsumer(fields[0])
	switch {
	case stream == "" || len(fields) == 1 || len(fields) == 3:
		return "", "", false
	case len(fields) >= 5:
		subject = fields[4]
	}
	return stream, subject, true
}

// withoutConsumer removes the hash of a consumer's name, which is no part of where
// an event comes from: another consumer may read the same stream later.
func withoutConsumer(stream string) string {
	const mark, hash = ":C=", 8
	if at := len(stream) - hash - len(mark); at > 0 && stream[at:at+len(mark)] == mark {
		return stream[:at]
	}
	return stream
}
