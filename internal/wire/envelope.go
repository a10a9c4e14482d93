package wire

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
)

// Internal headers of deliveries, retries and dead letters. NATS looks headers
// up case-sensitively, so these spellings are exact.
const (
	HeaderEventID      = "Fanjet-Event-Id"      // the webhook-id, the same for every endpoint
	HeaderKey          = "Fanjet-Key"           // identity of the delivery, see Key
	HeaderEndpoint     = "Fanjet-Endpoint"      // endpoint name
	HeaderSubject      = "Fanjet-Subject"       // subject that the event was published on
	HeaderSource       = "Fanjet-Source"        // STREAM/sequence of the event
	HeaderAccepted     = "Fanjet-Accepted"      // when JetStream stored the event, or when the letter was replayed
	HeaderAttempt      = "Fanjet-Attempt"       // number of the next attempt, from 1
	HeaderGeneration   = "Fanjet-Generation"    // 0, one more with every replay
	HeaderFirstAttempt = "Fanjet-First-Attempt" // when the first attempt of this generation began
	HeaderLastAttempt  = "Fanjet-Last-Attempt"  // when the latest attempt began
	HeaderLastStatus   = "Fanjet-Last-Status"   // HTTP status of the latest attempt; absent when there was no response
	HeaderLastError    = "Fanjet-Last-Error"    // why the latest attempt failed
)

// Envelope is what the internal headers say about a delivery.
type Envelope struct {
	EventID    string
	Key        string
	Endpoint   string
	Subject    string
	Source     string
	Accepted   time.Time
	Attempt    int // number of the next attempt, from 1
	Generation int

	// What the latest attempt left; zero before the first one.
	FirstAttempt time.Time
	LastAttempt  time.Time
	LastStatus   int
	LastError    string
}

// WriteTo sets the internal headers in h. Fields that are zero are left out,
// except the attempt and the generation.
func (e *Envelope) WriteTo(h nats.Header) {
	values := make([]string, 0, 12) // one allocation for all
	set := func(k, v string) {
		if v != "" {
			values = append(values, v)
			n := len(values)
			h[k] = values[n-1 : n : n]
		}
	}
	set(HeaderEventID, e.EventID)
	set(HeaderKey, e.Key)
	set(HeaderEndpoint, e.Endpoint)
	set(HeaderSubject, e.Subject)
	set(HeaderSource, e.Source)
	set(HeaderAccepted, formatTime(e.Accepted))
	set(HeaderAttempt, strconv.Itoa(e.Attempt))
	set(HeaderGeneration, strconv.Itoa(e.Generation))
	set(HeaderFirstAttempt, formatTime(e.FirstAttempt))
	set(HeaderLastAttempt, formatTime(e.LastAttempt))
	if e.LastStatus != 0 {
		set(HeaderLastStatus, strconv.Itoa(e.LastStatus))
	}
	set(HeaderLastError, headerValue(e.LastError))
}

// ErrEnvelope means that a message carries no readable internal headers: it
// was not written by Fanjet.
var ErrEnvelope = errors.New("not a delivery of Fanjet")

// ReadEnvelope reads the internal headers. It returns [ErrEnvelope] when one
// that every delivery carries is missing or cannot be read. The endpoint and
// the key are safe as tokens of a subject, and the attempt is at least 1.
func ReadEnvelope(h nats.Header) (Envelope, error) {
	var errs []error
	need := func(k string) string {
		v := h.Get(k)
		if v == "" {
			errs = append(errs, fmt.Errorf("%w: header %s is missing", ErrEnvelope, k))
		}
		return v
	}
	token := func(k string) string {
		v := need(k)
		if !isToken(v) {
			errs = append(errs, fmt.Errorf("%w: header %s: %q is not a token of a subject", ErrEnvelope, k, v))
		}
		return v
	}
	number := func(k, v string, least int) int {
		if v == "" {
			return 0
		}
		n, err := strconv.Atoi(v)
		if err != nil || n < least {
			errs = append(errs, fmt.Errorf("%w: header %s: %q is not a number from %d", ErrEnvelope, k, v, least))
		}
		return n
	}
	moment := func(k, v string) time.Time {
		if v == "" {
			return time.Time{}
		}
		t, err := time.Parse(time.RFC3339Nano, v)
		if err != nil {
			errs = append(errs, fmt.Errorf("%w: header %s: %q is not an RFC 3339 time", ErrEnvelope, k, v))
		}
		return t
	}
	e := Envelope{
		EventID:      need(HeaderEventID),
		Key:          token(HeaderKey),
		Endpoint:     token(HeaderEndpoint),
		Subject:      need(HeaderSubject),
		Source:       need(HeaderSource),
		Accepted:     moment(HeaderAccepted, need(HeaderAccepted)),
		Attempt:      number(HeaderAttempt, need(HeaderAttempt), 1),
		Generation:   number(HeaderGeneration, h.Get(HeaderGeneration), 0),
		FirstAttempt: moment(HeaderFirstAttempt, h.Get(HeaderFirstAttempt)),
		LastAttempt:  moment(HeaderLastAttempt, h.Get(HeaderLastAttempt)),
		LastStatus:   number(HeaderLastStatus, h.Get(HeaderLastStatus), 0),
		LastError:    h.Get(HeaderLastError),
	}
	if len(errs) > 0 {
		return e, errors.Join(errs...)
	}
	return e, nil
}

// isToken reports whether v may be a token of a subject: printable ASCII without
// what has a meaning there.
func isToken(v string) bool {
	for i := range len(v) {
		if c := v[i]; c <= ' ' || c > '~' || c == '.' || c == '*' || c == '>' {
			return false
		}
	}
	return true
}

// Accepted reads only when the event of a delivery was accepted.
func Accepted(h nats.Header) (time.Time, error) {
	return time.Parse(time.RFC3339Nano, h.Get(HeaderAccepted))
}

// EventHeaders returns a copy of h without the headers that steer JetStream
// (Nats-*) or Fanjet (Fanjet-*), however they are spelt. Every hop calls it: a
// stored Nats-Expected-Stream or Nats-Schedule-Next would get the message, and
// the whole batch that it is in, refused for ever; and a producer must not
// steer a delivery. Nor does it take headers whose names NATS clients for Go do
// not publish: other clients do.
func EventHeaders(h nats.Header) nats.Header {
	out := make(nats.Header, len(h)+12)
	for k, v := range h {
		if hasPrefixFold(k, "Nats-") || hasPrefixFold(k, "Fanjet-") || !isHeaderName(k) {
			continue
		}
		out[k] = v
	}
	return out
}

// isHeaderName reports whether nats.go publishes a header of that name.
func isHeaderName(name string) bool {
	for i := range len(name) {
		if c := name[i]; c <= ' ' || c > '~' || strings.IndexByte(`"()/,:;<=>?@[\]{}`, c) >= 0 {
			return false
		}
	}
	return name != ""
}

// HopHeaders returns a copy of the headers of one of our own messages without
// those that steer JetStream, for a hop that leaves the delivery as it is.
func HopHeaders(h nats.Header) nats.Header {
	out := make(nats.Header, len(h)+4)
	for k, v := range h {
		if !hasPrefixFold(k, "Nats-") {
			out[k] = v
		}
	}
	return out
}

func hasPrefixFold(s, prefix string) bool {
	return len(s) >= len(prefix) && strings.EqualFold(s[:len(prefix)], prefix)
}

func formatTime(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.UTC().Format(time.RFC3339Nano)
}

// maxErrorLen bounds Fanjet-Last-Error, in bytes.
const maxErrorLen = 512

// headerValue makes any text safe as a one-line header value.
func headerValue(s string) string {
	if len(s) > maxErrorLen {
		s = strings.ToValidUTF8(s[:maxErrorLen], "")
	}
	return strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f {
			return ' '
		}
		return r
	}, s)
}
