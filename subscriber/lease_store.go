package subscriber

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"fanjet/internal/jsapi"
	"fanjet/internal/publish"
)

// errFired means that a lease is not there any more: it has fired.
var errFired = errors.New("the lease has fired")

// errNotTaken means that a lease, or what is to take its place, is not stored for certain:
// there is no room for it, or it is refused.
var errNotTaken = errors.New("not taken")

// leaseStore keeps leases. Every method may be called again after an error other than
// errFired: what was done is not done twice.
type leaseStore interface {
	// take stores a message on a subject that has none, and returns its sequence. errFired:
	// the subject has another one.
	take(ctx context.Context, msg *nats.Msg) (sequence uint64, err error)
	// replace stores a message on the subject of a lease, in its place.
	replace(ctx context.Context, sequence uint64, msg *nats.Msg) error
	// drop removes a lease.
	drop(ctx context.Context, sequence uint64) error
}

// retriesLeases keeps leases in the retries stream, as the schedules that they are. It
// does not go through the publisher: a lease needs its sequence, and must not wait behind
// thousands of schedules.
type retriesLeases struct {
	js     jetstream.JetStream
	stream string
}

// leaseWait bounds the wait for one answer.
const leaseWait = 5 * time.Second

func (s *retriesLeases) take(ctx context.Context, msg *nats.Msg) (uint64, error) {
	return s.put(ctx, 0, msg)
}

func (s *retriesLeases) replace(ctx context.Context, sequence uint64, msg *nats.Msg) error {
	_, err := s.put(ctx, sequence, msg)
	return err
}

// put stores a message on a subject whose latest has a sequence; 0: it has none.
func (s *retriesLeases) put(ctx context.Context, last uint64, msg *nats.Msg) (uint64, error) {
	ctx, cancel := context.WithTimeout(ctx, leaseWait)
	defer cancel()
	answer, err := s.js.PublishMsg(ctx, msg, jetstream.WithExpectLastSequencePerSubject(last), jetstream.WithExpectStream(s.stream))
	if err == nil {
		return answer.Sequence, nil
	}
	switch {
	case publish.IsFull(err), publish.IsRefused(err):
		return 0, fmt.Errorf("cannot store a lease: %w: %w", errNotTaken, err)
	case !publish.IsConflict(err):
		return 0, fmt.Errorf("cannot store a lease: %w", err)
	}
	// An earlier try may have been stored, by a server that has forgotten its id.
	there, err := jsapi.Of(s.js).Last(ctx, s.stream, msg.Subject)
	if errors.Is(err, jsapi.ErrNoMessage) {
		return 0, errFired
	}
	if err != nil {
		return 0, fmt.Errorf("cannot look at a lease: %w", err)
	}
	header, err := there.Header()
	if err != nil {
		return 0, fmt.Errorf("cannot read a lease: %w", err)
	}
	if header.Get(nats.MsgIdHdr) != msg.Header.Get(nats.MsgIdHdr) {
		return 0, errFired
	}
	return there.Sequence, nil
}

func (s *retriesLeases) drop(ctx context.Context, sequence uint64) error {
	ctx, cancel := context.WithTimeout(ctx, leaseWait)
	defer cancel()
	err := jsapi.Of(s.js).Remove(ctx, s.stream, sequence)
	switch {
	case errors.Is(err, jsapi.ErrNoMessage):
		return errFired
	case err != nil:
		return fmt.Errorf("cannot remove a lease: %w", err)
	}
	return nil
}
