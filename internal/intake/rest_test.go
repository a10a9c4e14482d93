package intake

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
)

// What the server sends beside the request that is waited for is held at once,
// beyond the window too: what lay in the client's buffer would not be reported in
// progress, and come to others as well.
func TestUnaskedMessagesAreHeld(t *testing.T) {
	t.Parallel()
	const window, more = 2, 4
	b := setup(t, func(o *Options) { o.Window = window })
	nc := b.server.Connect()
	requests, err := nc.SubscribeSync("$JS.API.CONSUMER.MSG.NEXT.S.c")
	if err != nil {
		t.Fatal(err)
	}
	request, err := requests.NextMsg(30 * time.Second)
	if err != nil {
		t.Fatal(err)
	}
	inbox := request.Reply[:strings.LastIndex(request.Reply, ".")]
	got := func(n int) {
		t.Helper()
		for i := range n {
			select {
			case m := <-b.got:
				if m.Deliveries != 1 {
					t.Errorf("message %d was sent %d times", m.Sequence, m.Deliveries)
				}
			case <-time.After(30 * time.Second):
				t.Fatalf("%d of %d messages were handled", i, n)
			}
		}
	}
	publish := func(n int) {
		t.Helper()
		for i := range n {
			if _, err := b.js.Publish(t.Context(), "s", fmt.Append(nil, i)); err != nil {
				t.Fatal(err)
			}
		}
	}
	publish(window)
	got(window) // now it is full, and asks for nothing
	err = nc.PublishMsg(&nats.Msg{Subject: request.Subject, Reply: inbox + ".other", Data: fmt.Appendf(nil, `{"batch":%d,"expires":%d}`, more, time.Minute)})
	if err != nil {
		t.Fatal(err)
	}
	publish(more)
	got(more)
}
