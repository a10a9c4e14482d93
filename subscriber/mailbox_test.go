package subscriber

import (
	"context"
	"testing/synctest"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"fanjet/internal/publish"
)

// mailbox is a publisher of which the test is the stream.
type mailbox struct {
	came   chan *sent
	closed error // what Enqueue says
}

// sent is a message that waits for an answer.
type sent struct {
	*nats.Msg
	answer func(error)
}

func newMailbox() *mailbox { return &mailbox{came: make(chan *sent, 100)} }

func (b *mailbox) Enqueue(_ context.Context, m *nats.Msg, done publish.Completion) error {
	if b.closed != nil {
		return b.closed
	}
	b.came <- &sent{m, done.Published}
	return nil
}

func (b *mailbox) Publish(ctx context.Context, m *nats.Msg) error {
	answers := make(answer, 1)
	if err := b.Enqueue(ctx, m, answers); err != nil {
		return err
	}
	select {
	case err := <-answers:
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}

type answer chan error

func (a answer) Published(err error) { a <- err }

// next is the next message to a mailbox: no other one may have come.
func (h *hand) next(b *mailbox) *sent {
	h.Helper()
	synctest.Wait()
	if len(b.came) != 1 {
		h.Fatalf("%d messages came, want one", len(b.came))
	}
	return <-b.came
}

// What NATS says to a message.
var (
	errBadMessage = &jetstream.APIError{Code: 400, ErrorCode: 10060, Description: "refused"}
	errTooLarge   = &jetstream.APIError{Code: 400, ErrorCode: 10054, Description: "message size exceeds maximum allowed"}
	errNoAnswer   = nats.ErrTimeout
)
