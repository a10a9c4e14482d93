package dlq

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"fanjet/internal/jsapi"
	"fanjet/internal/wire"
)

// ErrSourceGone means that the event which a letter refers to is no longer
// where it was: its stream dropped it, or was deleted or created again.
var ErrSourceGone = errors.New("the event is no longer in its stream")

// Resolve fetches the body and the event's headers of a letter by reference
// from the source stream; other letters are left as they are. It returns
// [ErrSourceGone] unless the stream still holds that very event.
func (q *Queue) Resolve(ctx context.Context, l *Letter) error {
	if !l.ByReference {
		return nil
	}
	stream, number, _ := strings.Cut(l.Source, "/")
	seq, err := strconv.ParseUint(number, 10, 64)
	if err != nil {
		return fmt.Errorf("header %s: %q is not STREAM/sequence", wire.HeaderSource, l.Source)
	}
	source, err := q.js.Stream(ctx, stream)
	if errors.Is(err, jetstream.ErrStreamNotFound) {
		return fmt.Errorf("%w: %s: there is no such stream", ErrSourceGone, l.Source)
	}
	if err != nil {
		return fmt.Errorf("opening the source stream %s: %w", stream, err)
	}
	event, err := q.stored(ctx, stream, seq)
	if err != nil {
		return err
	}
	at := wire.Position{Stream: stream, Created: source.CachedInfo().Created, Sequence: seq, Stored: event.Time}
	header, err := event.Header()
	if err != nil {
		return fmt.Errorf("reading the headers of the event %s: %w", l.Source, err)
	}
	if !isEvent(l, at, header, event.Data) {
		return fmt.Errorf("%w: %s is another event now; the stream was created again", ErrSourceGone, l.Source)
	}
	l.Headers, l.Data, l.Size = wire.EventHeaders(header), event.Data, len(event.Data)
	return nil
}

// isEvent reports whether the letter was made from the event at a position.
// The key of a delivery that came from a replay names a letter instead, which
// is gone; then the webhook-id has to do.
func isEvent(l *Letter, at wire.Position, header nats.Header, data []byte) bool {
	if l.Generation == 0 {
		return wire.Key(wire.KindEvent, at, l.Endpoint) == l.Key
	}
	return wire.EventID(header, data, at, false) == l.EventID ||
		wire.SourcedEventID(header, data, at, false) == l.EventID ||
		wire.EventID(header, data, at, true) == l.EventID
}

// stored reads one message of any stream. The direct get of nats.go would take
// headers that a producer set, such as Status or Nats-Sequence, for the
// server's.
func (q *Queue) stored(ctx context.Context, stream string, seq uint64) (*jsapi.Message, error) {
	m, err := q.api.Message(ctx, stream, seq)
	switch {
	case errors.Is(err, jsapi.ErrNoMessage):
		return nil, fmt.Errorf("%w: %s/%d", ErrSourceGone, stream, seq)
	case err != nil:
		return nil, fmt.Errorf("reading the event %s/%d: %w", stream, seq, err)
	}
	return m, nil
}
