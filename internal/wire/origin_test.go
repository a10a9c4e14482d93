package wire

import (
	"strings"
	"testing"

	"github.com/nats-io/nats.go"
)

func sourcedFrom(id, origin string) nats.Header {
	return nats.Header{nats.MsgIdHdr: {id}, HeaderStreamSource: {origin}}
}

// The identity of a sourced event is stored, too: another one would be another
// event for receivers.
func TestSourcedIdentityIsFixed(t *testing.T) {
	t.Parallel()
	plain := nats.Header{nats.MsgIdHdr: {"order-1"}}
	sourced := sourcedFrom("order-1", "SHOP 7 > > orders.paid 4slkrSey")
	cloud := nats.Header{"ce-source": {"/shop"}, "ce-id": {"A-1"}, nats.MsgIdHdr: {"order-1"}, HeaderStreamSource: {"SHOP 7 > > orders.paid"}}
	for name, tt := range map[string]struct{ got, want string }{
		"sourced":              {SourcedEventID(sourced, nil, position, false), "msg_rsug5hkjy4jeuuche4slwq2gcu"},
		"without an origin":    {SourcedEventID(plain, nil, position, false), "msg_nhjuk5mblvpglta3pq7mbytawo"},
		"CloudEvents":          {SourcedEventID(cloud, nil, position, false), "msg_vxlv5cnbluroc2zme5xlhcrjit"},
		"without an id":        {SourcedEventID(nats.Header{HeaderStreamSource: {"SHOP 7 > > orders.paid"}}, nil, position, false), "msg_kxrjtf57kwrezrnvr2m4zpn67w"},
		"position, if told":    {SourcedEventID(sourced, nil, position, true), "msg_kxrjtf57kwrezrnvr2m4zpn67w"},
		"of no sourced stream": {EventID(sourced, nil, position, false), "msg_nhjuk5mblvpglta3pq7mbytawo"},
	} {
		if tt.got != tt.want {
			t.Errorf("%s: %s, want %s", name, tt.got, tt.want)
		}
	}
}

// What tells two events of one id apart is where they come from, not when, by whom
// or how often they were taken over.
func TestSourcedIdentity(t *testing.T) {
	t.Parallel()
	id := func(origin string) string { return SourcedEventID(sourcedFrom("1", origin), nil, position, false) }
	first := id("SHOP 7 > > orders.paid 4slkrSey")
	for name, origin := range map[string]string{
		"taken over again, from another sequence": "SHOP 8 > > orders.paid 4slkrSey",
		"by an older server":                      "SHOP 7 > > orders.paid",
		"after its stream was made anew":          "SHOP 1 > > orders.paid fIWR3iF2",
		"with another filter and transform":       "SHOP 7 orders.> other.> orders.paid",
		"by a durable consumer":                   "SHOP:C=a1B2c3D4 7 > > orders.paid",
	} {
		if got := id(origin); got != first {
			t.Errorf("%s: another identity", name)
		}
	}
	seen := map[string]string{first: "the first"}
	for name, origin := range map[string]string{
		"another stream":                       "STORE 7 > > orders.paid",
		"a stream of that name elsewhere":      "SHOP:a1B2c3D4 7 > > orders.paid",
		"one of that name in a third place":    "SHOP:zzzzzzzz 7 > > orders.paid",
		"that, by a durable consumer":          "SHOP:yyyyyyyy:C=a1B2c3D4 7 > > orders.paid",
		"another subject, so another origin":   "SHOP 7 > > returns.paid",
		"one of an old server, with its words": "STORE 7",
		"one of an older server":               "$JS.ACK.OLD.consumer.1.7.7.1700000000000000000.0",
		"one of it in a domain":                "$JS.ACK.hub.hash.OLDER.consumer.1.7.7.1700000000000000000.0",
	} {
		got := id(origin)
		if other, ok := seen[got]; ok {
			t.Errorf("%s has the identity of %s", name, other)
		}
		seen[got] = name
	}
	plain := EventID(nats.Header{nats.MsgIdHdr: {"1"}}, nil, position, false)
	for _, unreadable := range []string{"", " ", "SHOP", " 7 > > orders.paid", "SHOP 7 >", "$JS.ACK.", "$JS.ACK.a.b", "$JS.ACK..c.1.7.7.1.0"} {
		if got := id(unreadable); got != plain {
			t.Errorf("origin %q: it counts", unreadable)
		}
	}
	// A producer's own comes before that of the server.
	forged := nats.Header{nats.MsgIdHdr: {"1"}, HeaderStreamSource: {"STORE 9 > > orders.paid", "SHOP 7 > > orders.paid"}}
	if got := SourcedEventID(forged, nil, position, false); got != first {
		t.Error("the word of a producer counts, not that of the server")
	}
	if got := SourcedEventID(nats.Header{nats.MsgIdHdr: {"1"}, strings.ToLower(HeaderStreamSource): {"STORE 9 > > x"}}, nil, position, false); got != plain {
		t.Error("a header of another spelling counts")
	}
}

// FuzzOrigin reads any text as an origin: it fails on none, and two origins make
// one identity only if stream and subject are the same.
func FuzzOrigin(f *testing.F) {
	f.Add("SHOP 7 > > orders.paid 4slkrSey", "SHOP:C=a1B2c3D4 9 > > orders.paid")
	f.Add("$JS.ACK.hub.hash.OLDER.consumer.1.7.7.1.0", "OLDER 7")
	f.Add("SHOP 7 a\fb c\fd orders.paid", " ")
	f.Fuzz(func(t *testing.T, a, b string) {
		one, two := sourcedFrom("1", a), sourcedFrom("1", b)
		streamA, subjectA, okA := origin(one)
		streamB, subjectB, okB := origin(two)
		if okA && streamA == "" {
			t.Fatalf("%q: an origin without a name", a)
		}
		same := okA == okB && (!okA || streamA == streamB && subjectA == subjectB)
		if got := SourcedEventID(one, nil, position, false) == SourcedEventID(two, nil, position, false); got != same {
			t.Fatalf("%q and %q: the same identity %v, want %v", a, b, got, same)
		}
	})
}
