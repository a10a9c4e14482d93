package topology

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// OpenConsumer returns a durable consumer, made or set right first if need be.
// It refuses one that may have passed over messages.
func OpenConsumer(ctx context.Context, stream jetstream.Stream, want jetstream.ConsumerConfig) (jetstream.Consumer, error) {
	name := stream.CachedInfo().Config.Name
	want = Within(stream.CachedInfo().Config.ConsumerLimits, want)
	consumer, err := stream.Consumer(ctx, want.Durable)
	if errors.Is(err, jetstream.ErrConsumerNotFound) {
		// Another replica may make it at the same moment; the same twice is once.
		consumer, err = stream.CreateConsumer(ctx, want)
	}
	if err != nil {
		return nil, explainConsumer(name, want, err)
	}
	info := consumer.CachedInfo() // of just now
	if err := reviewConsumer(info, want); err != nil {
		return nil, err
	}
	next := Adjusted(info.Config, want)
	if next == nil {
		return consumer, nil
	}
	consumer, err = stream.UpdateConsumer(ctx, *next)
	if err != nil {
		return nil, explainConsumer(name, want, err)
	}
	return consumer, nil
}

// CheckConsumer reports why the ack floor of a consumer cannot be trusted: what
// is below it might never have been handed to anybody. Truncation asks before
// every purge.
func CheckConsumer(info *jetstream.ConsumerInfo, want jetstream.ConsumerConfig) error {
	have := info.Config
	r := consumerReview{stream: info.Stream, name: info.Name}
	if have.DeliverPolicy != want.DeliverPolicy {
		r.refuse("deliver_policy", deliverPolicy(have.DeliverPolicy), deliverPolicy(want.DeliverPolicy))
	}
	if have.AckPolicy != want.AckPolicy {
		r.refuse("ack_policy", have.AckPolicy.String(), want.AckPolicy.String())
	}
	if filters := filtersOf(have); !slices.Equal(filters, filtersOf(want)) {
		r.refuse("filter", fmt.Sprint(filters), fmt.Sprint(filtersOf(want)))
	}
	if have.MaxDeliver > 0 {
		// The floor moves past a message that was handed out this often.
		r.refuse("max_deliver", fmt.Sprint(have.MaxDeliver), "-1 (unlimited)")
	}
	return errors.Join(r.problems...)
}

// reviewConsumer is [CheckConsumer] and what else cannot be changed in a
// consumer that exists.
func reviewConsumer(info *jetstream.ConsumerInfo, want jetstream.ConsumerConfig) error {
	have := info.Config
	r := consumerReview{stream: info.Stream, name: info.Name}
	if have.ReplayPolicy != want.ReplayPolicy {
		r.refuse("replay_policy", have.ReplayPolicy.String(), want.ReplayPolicy.String())
	}
	if have.MemoryStorage {
		r.refuse("mem_storage", "true", "false")
	}
	return errors.Join(append([]error{CheckConsumer(info, want)}, r.problems...)...)
}

type consumerReview struct {
	stream, name string
	problems     []error
}

func (r *consumerReview) refuse(field, have, want string) {
	r.problems = append(r.problems, &Refusal{
		Object: ConsumerObject(r.stream, r.name),
		What:   fmt.Sprintf("%s is %s, not %s", field, have, want),
		Why:    "it may have passed over messages that nobody handled",
		Fix:    removeConsumer(r.stream, r.name),
	})
}

// Adjusted is have with what may be changed at any time as in want; nil when
// nothing differs. The pause that an operator set, metadata and the like stay.
func Adjusted(have, want jetstream.ConsumerConfig) *jetstream.ConsumerConfig {
	next := have
	next.AckWait = want.AckWait
	next.MaxAckPending = want.MaxAckPending
	next.PriorityPolicy = want.PriorityPolicy
	next.PinnedTTL = want.PinnedTTL
	next.HeadersOnly = false
	next.InactiveThreshold = want.InactiveThreshold
	next.RateLimit = 0
	next.MaxRequestExpires = 0
	next.MaxRequestMaxBytes = 0
	changed := next.AckWait != have.AckWait || next.MaxAckPending != have.MaxAckPending ||
		next.PriorityPolicy != have.PriorityPolicy || next.PinnedTTL != have.PinnedTTL ||
		have.HeadersOnly || have.InactiveThreshold != want.InactiveThreshold || have.RateLimit != 0 || have.MaxRequestExpires != 0 || have.MaxRequestMaxBytes != 0
	if len(have.BackOff) > 0 {
		next.BackOff, changed = nil, true
	}
	if !slices.Equal(have.PriorityGroups, want.PriorityGroups) {
		next.PriorityGroups, changed = want.PriorityGroups, true
	}
	if !changed {
		return nil
	}
	return &next
}

// CheckPaused reports that an operator halted a consumer.
func CheckPaused(info *jetstream.ConsumerInfo) error {
	if !info.Paused {
		return nil
	}
	return &Refusal{
		Object: ConsumerObject(info.Stream, info.Name),
		What:   "it is paused for another " + period(info.PauseRemaining.Round(time.Second)),
		Fix:    "nats consumer resume " + info.Stream + " " + info.Name,
	}
}

// filtersOf lists the subjects that a consumer is limited to; none: all.
func filtersOf(c jetstream.ConsumerConfig) []string {
	if c.FilterSubject != "" {
		return []string{c.FilterSubject}
	}
	return slices.Sorted(slices.Values(c.FilterSubjects))
}

func deliverPolicy(p jetstream.DeliverPolicy) string {
	text, err := p.MarshalJSON()
	if err != nil {
		return "unknown"
	}
	return string(text)
}
