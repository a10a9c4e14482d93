package webhook

import (
	"context"
	"net/http"
	"strconv"
	"time"
)

// Delivery is what a [Handler] knows about the webhook that it hands on.
type Delivery struct {
	ID        string    // webhook-id: the same on every attempt to deliver this event
	Timestamp time.Time // when this attempt was signed, in whole seconds

	// Headers of Fanjet that are not signed. They are true if the connection
	// is (TLS); what must not be wrong belongs into the body.

	Subject string // subject that the event was published on; empty if not told
	Attempt int    // number of this attempt, from 1; 0 if not told
}

// FromContext returns the webhook that a [Handler] verified; ok is false if ctx
// does not come from one.
func FromContext(ctx context.Context) (d Delivery, ok bool) {
	d, ok = ctx.Value(contextKey{}).(Delivery)
	return d, ok
}

type contextKey struct{}

func newContext(ctx context.Context, d Delivery) context.Context {
	return context.WithValue(ctx, contextKey{}, d)
}

// newDelivery says what e and the headers of Fanjet tell.
func newDelivery(e envelope, header http.Header) Delivery {
	attempt, err := strconv.Atoi(header.Get(HeaderAttempt))
	if err != nil || attempt < 1 {
		attempt = 0
	}
	return Delivery{
		ID:        e.id,
		Timestamp: time.Unix(e.timestamp, 0),
		Subject:   header.Get(HeaderSubject),
		Attempt:   attempt,
	}
}
