package intake

import (
	"testing"
	"time"

	"github.com/nats-io/nats.go"
)

func TestReadReply(t *testing.T) {
	t.Parallel()
	want := metadata{stream: "EVENTS", deliveries: 2, sequence: 34, delivery: 5, stored: time.Unix(0, 1767323046000000007), pending: 9}
	for reply, valid := range map[string]bool{
		"$JS.ACK.EVENTS.fanjet-match.2.34.5.1767323046000000007.9":                 true,
		"$JS.ACK._.AbCd1234.EVENTS.fanjet-match.2.34.5.1767323046000000007.9":      true,
		"$JS.ACK.hub.AbCd1234.EVENTS.fanjet-match.2.34.5.1767323046000000007.9.xy": true,
		"$JS.ACK.EVENTS.fanjet-match.2.34.5.1767323046000000007":                   false,
		"$JS.ACK.x.EVENTS.fanjet-match.2.34.5.1767323046000000007.9":               false,
		"$JS.ACK.EVENTS.fanjet-match.two.34.5.1767323046000000007.9":               false,
		"$JS.ACK.EVENTS.fanjet-match.2.-34.5.1767323046000000007.9":                false,
		"$JS.ACK.EVENTS.fanjet-match.2.34.5.99999999999999999999.9":                false,
		"$JS.ACK..fanjet-match.2.34.5.1767323046000000007.9":                       false,
		"$JS.ACK.......":    false,
		"_INBOX.abc.1":      false,
		"":                  false,
		"$JS.ACK.":          false,
		"$JS.ACK.a.b.c.d.e": false,
	} {
		got, ok := readReply(reply)
		if ok != valid || ok && got != want {
			t.Errorf("%s: %+v, %v", reply, got, ok)
		}
	}
}

// What is read is what the client library reads.
func FuzzReadReply(f *testing.F) {
	f.Add("$JS.ACK.EVENTS.fanjet-match.2.34.5.1767323046000000007.9")
	f.Add("$JS.ACK._.AbCd1234.EVENTS.fanjet-match.2.34.5.1767323046000000007.9.x.y")
	f.Fuzz(func(t *testing.T, reply string) {
		got, ok := readReply(reply)
		if !ok {
			return
		}
		theirs, err := (&nats.Msg{Reply: reply, Sub: &nats.Subscription{}}).Metadata()
		if err != nil {
			t.Fatalf("%s: %+v, the library reads %v", reply, got, err)
		}
		if got.stream != theirs.Stream || got.sequence != theirs.Sequence.Stream || got.delivery != theirs.Sequence.Consumer || got.deliveries != theirs.NumDelivered ||
			!got.stored.Equal(theirs.Timestamp) || got.pending != theirs.NumPending {
			t.Errorf("%s: %+v, the library reads %+v", reply, got, theirs)
		}
	})
}

func BenchmarkReadReply(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		readReply("$JS.ACK.EVENTS.fanjet-match.1.123456.123456.1767323046000000007.9")
	}
}
