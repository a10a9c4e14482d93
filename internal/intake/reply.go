package intake

import (
	"strconv"
	"strings"
	"time"
)

// metadata is what the subject for a message's acknowledgement says about it.
type metadata struct {
	stream     string
	deliveries uint64
	sequence   uint64 // in the stream
	delivery   uint64 // sequence of the consumer
	stored     time.Time
	pending    uint64
}

// readReply reads such a subject, in either of its forms (NATS ADR-15):
//
//	$JS.ACK.<stream>.<consumer>.<deliveries>.<stream seq>.<consumer seq>.<stored, ns>.<pending>
//	$JS.ACK.<domain>.<account hash>.<stream>.… .<pending> and what may follow
//
// Every message passes here, so it allocates nothing.
func readReply(reply string) (m metadata, ok bool) {
	rest, ok := strings.CutPrefix(reply, ackPrefix)
	if !ok {
		return m, false
	}
	const short, long = 7, 9 // tokens, without the prefix
	n := strings.Count(rest, ".") + 1
	if n >= long {
		_, rest, _ = strings.Cut(rest, ".")
		_, rest, _ = strings.Cut(rest, ".")
	} else if n != short {
		return m, false
	}
	token := func() string {
		var t string
		t, rest, _ = strings.Cut(rest, ".")
		return t
	}
	number := func() uint64 {
		n, err := strconv.ParseUint(token(), 10, 63)
		ok = ok && err == nil
		return n
	}
	m.stream = token()
	token() // consumer
	m.deliveries = number()
	m.sequence = number()
	m.delivery = number()
	m.stored = time.Unix(0, int64(number()))
	m.pending = number()
	return m, ok && m.stream != ""
}
