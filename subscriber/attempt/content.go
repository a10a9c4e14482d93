package attempt

import (
	"strings"

	"fanjet/internal/wire"
	"fanjet/subscriber/endpoint"
	"fanjet/subscriber/httpsend"

	"github.com/nats-io/nats.go"
)

// Bounds of what a producer can send to endpoints, in bytes: many receivers
// refuse requests with long headers.
const (
	maxContentType     = 1 << 10
	maxContentEncoding = 256
)

// describeEvent sets the headers that say what the body is and whose trace it
// belongs to. They are the producer's, in whatever spelling, if they are valid;
// nothing else that a producer sent goes along, baggage least of all. An empty
// event gets no content type but the producer's: there is nothing that could have
// one, and some receivers refuse a type that they do not know even so.
func describeEvent(x *httpsend.Exchange, header nats.Header, body []byte) {
	var encoding string
	if len(body) > 0 {
		encoding = contentEncoding(wire.Header(header, "Content-Encoding"))
	}
	if media := contentType(header, encoding, body); media != "" {
		x.Set("Content-Type", media)
	}
	if encoding != "" {
		x.Set("Content-Encoding", encoding)
	}
	if parent := strings.Trim(wire.HeaderValue(header, "traceparent"), " \t"); validTraceparent(parent) {
		x.Set("Traceparent", parent)
		if state := traceState(wire.Header(header, "tracestate")); state != "" {
			x.Set("Tracestate", state)
		}
	}
}

// contentType is the producer's, if it is one, else what the body looks like.
// One that is encoded looks like nothing.
func contentType(header nats.Header, encoding string, body []byte) string {
	if v := wire.HeaderValue(header, "Content-Type"); isContentType(v) {
		return v
	}
	switch {
	case len(body) == 0:
		return ""
	case encoding == "" && isJSON(body):
		return "application/json"
	default:
		return "application/octet-stream"
	}
}

// isContentType reports whether v is a media type with or without parameters
// (RFC 9110, section 8.3.1), and short. What the parameters say is not looked at.
func isContentType(v string) bool {
	media, _, _ := strings.Cut(v, ";")
	kind, subtype, ok := strings.Cut(strings.TrimRight(media, " \t"), "/")
	return ok && isName(kind) && isName(subtype) && len(v) <= maxContentType && httpsend.ValidValue(v)
}

// isName reports whether s is a token (RFC 9110, section 5.6.2).
func isName(s string) bool {
	for _, r := range s {
		if !endpoint.IsToken(r) {
			return false
		}
	}
	return s != ""
}

// contentEncoding is the value of Content-Encoding (RFC 9110, section 8.4) that
// its lines make; empty if they name no coding, or are not valid. "identity"
// means that there is none.
func contentEncoding(lines []string) string {
	if len(lines) == 1 && isName(lines[0]) && len(lines[0]) <= maxContentEncoding && !strings.EqualFold(lines[0], "identity") {
		return lines[0] // as nearly always
	}
	var out strings.Builder
	for _, line := range lines {
		for coding := range strings.SplitSeq(line, ",") {
			coding = strings.Trim(coding, " \t")
			switch {
			case coding == "" || strings.EqualFold(coding, "identity"):
				continue
			case !isName(coding) || out.Len()+len(coding)+2 > maxContentEncoding:
				return ""
			case out.Len() > 0:
				out.WriteString(", ")
			}
			out.WriteString(coding)
		}
	}
	return out.String()
}
