package dlq

import (
	"context"
	"fmt"

	"github.com/nats-io/nats.go"

	"fanjet/internal/publish"
	"fanjet/internal/wire"
)

// Publisher stores messages in one stream: a [publish.Publisher]. It returns nil
// only once JetStream has acknowledged the message.
type Publisher interface {
	Publish(ctx context.Context, msg *nats.Msg) error
}

// Writer puts letters into the dead-letter stream. Its methods may be called
// concurrently.
type Writer struct {
	Names     wire.Names
	Publisher Publisher // of the dead-letter stream; must fail when it is full
}

// Write stores the dead letter of a delivery, see [NewMessage], and waits until
// JetStream acknowledged it. A letter that is too large is stored without its last
// error, or else by reference, with [ReasonTooLarge].
//
// The error is [publish.ErrFull] when the stream has no room. After any error
// the letter may or may not be stored; writing it again with the same hopID
// does not double it.
func (w *Writer) Write(ctx context.Context, env wire.Envelope, reason Reason, attempts int, eventHeaders nats.Header, data []byte, hopID string) error {
	msg := NewMessage(w.Names, env, reason, attempts, eventHeaders, data, hopID)
	err := w.Publisher.Publish(ctx, msg)
	if publish.IsTooLarge(err) && env.LastError != "" {
		// Rather without what the receiver said than without the event.
		env.LastError = ""
		msg = NewMessage(w.Names, env, reason, attempts, eventHeaders, data, hopID)
		err = w.Publisher.Publish(ctx, msg)
	}
	if publish.IsRefused(err) && reason != ReasonTooLarge {
		msg = NewMessage(w.Names, env, ReasonTooLarge, attempts, eventHeaders, data, hopID)
		err = w.Publisher.Publish(ctx, msg)
	}
	if err != nil {
		return fmt.Errorf("cannot dead-letter a delivery to %s: %w", env.Endpoint, err)
	}
	return nil
}
