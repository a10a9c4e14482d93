package broker

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"strings"
	"sync"

	"github.com/nats-io/nats.go"
)

// RefusedError is a right that NATS does not give to the user of a connection.
type RefusedError struct {
	Subject   string
	Subscribe bool // to listen there; else to publish there
}

// Error names the right, and says what to do.
func (e *RefusedError) Error() string {
	verb := "publish to"
	if e.Subscribe {
		verb = "subscribe to"
	}
	return fmt.Sprintf("NATS does not allow this user to %s %s: allow it in the configuration of the NATS server, or use credentials of another user", verb, e.Subject)
}

// refusedText is what nats-server 2.15 says of a right; a subject has no spaces.
var refusedText = regexp.MustCompile(`(?i)permissions violation for (publish|subscription)(?: to| with reply of) "([^"\s]+)"`)

// RefusedBy returns which right an error of a connection is about; nil if it is
// about something else. See [ConnectOptions.OnError].
func RefusedBy(err error) *RefusedError {
	if !errors.Is(err, nats.ErrPermissionViolation) {
		return nil
	}
	found := refusedText.FindStringSubmatch(err.Error())
	if found == nil {
		return nil
	}
	return &RefusedError{Subject: found[2], Subscribe: strings.EqualFold(found[1], "subscription")}
}

// Refusals tells those who wait for an answer that NATS refused their question: the
// server says so beside all requests, and the answer never comes. The zero value is
// ready. Its methods may be called concurrently.
type Refusals struct {
	mu      sync.Mutex
	waiting map[*waiter]struct{}
}

type waiter struct {
	about  string
	cancel context.CancelCauseFunc
}

// Observe hears of a right that was refused.
func (r *Refusals) Observe(e *RefusedError) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for w := range r.waiting {
		// Without a place for answers no question is answered.
		if strings.Contains(e.Subject+".", w.about) || strings.HasPrefix(e.Subject, "_INBOX.") {
			w.cancel(e)
		}
	}
}

// Watch returns a context that ends, with the [RefusedError] as its cause, when a
// right is refused on a subject that contains a text; empty: on any. Call end when the
// answer is there.
func (r *Refusals) Watch(ctx context.Context, about string) (watched context.Context, end func()) {
	ctx, cancel := context.WithCancelCause(ctx)
	w := &waiter{about, cancel}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.waiting == nil {
		r.waiting = make(map[*waiter]struct{})
	}
	r.waiting[w] = struct{}{}
	return ctx, func() {
		r.mu.Lock()
		defer r.mu.Unlock()
		delete(r.waiting, w)
		cancel(nil)
	}
}

// Cause is the right whose refusal ended a context, if one did; else err.
func Cause(ctx context.Context, err error) error {
	if refused := Refusal(ctx); refused != nil && err != nil {
		return refused
	}
	return err
}

// Refusal is the right whose refusal ended a context; nil: none did.
func Refusal(ctx context.Context) *RefusedError {
	refused, _ := errors.AsType[*RefusedError](context.Cause(ctx))
	return refused
}
