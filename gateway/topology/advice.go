package topology

import (
	"fmt"

	"github.com/nats-io/nats.go/jetstream"
	"go.uber.org/zap"
)

// advice is about a stream that can be used, but not without a risk that somebody
// should know of.
type advice struct{ What, Why, Fix string }

func (r *review) advise(what, why, fix string) {
	r.Advices = append(r.Advices, advice{What: what, Why: why, Fix: fix})
}

// adviseSource tells what can go wrong with a source that somebody else owns.
func (r *review) adviseSource(have jetstream.StreamConfig) {
	if have.Storage == jetstream.MemoryStorage {
		r.advise("storage is memory", "a restart of its server loses every event that it has accepted and Fanjet has not seen",
			"its owner makes it anew with storage file; that of a stream cannot be changed")
	}
	if len(have.Sources) > 0 && have.Duplicates > 0 {
		r.advise("it is filled from other streams and has a duplicates window of its own, "+period(have.Duplicates),
			"of two events whose producers gave them the same Nats-Msg-Id it drops the second, also when they come from two streams",
			"its owner sets duplicate_window to 0: the streams that it is filled from have windows of their own")
	}
	if limit := have.ConsumerLimits.InactiveThreshold; limit > 0 {
		r.advise("it removes consumers that nobody has asked for anything for "+period(limit),
			"when no gateway runs for that long, Fanjet's consumer goes; the next one reads the whole stream again, and fans out what the cursor does not cover",
			"its owner removes consumer_limits.inactive_threshold")
	}
	if limit := have.ConsumerLimits.MaxAckPending; limit > 0 && limit < MatchWindow {
		r.advise(fmt.Sprintf("its consumers may have %d messages in work, and Fanjet takes up to %d", limit, MatchWindow),
			"what it can fan out in a second is bounded by that",
			"its owner raises consumer_limits.max_ack_pending")
	}
}

// noRoomForConsumer refuses a stream that has as many consumers as it may have,
// when Fanjet's is not among them.
func (r *review) noRoomForConsumer(info *jetstream.StreamInfo, consumer string) {
	if most := info.Config.MaxConsumers; most > 0 && info.State.Consumers >= most {
		r.problems = append(r.problems, &Refusal{
			Object: ConsumerObject(r.stream, consumer),
			What:   "the stream has as many consumers as it may have",
			Why:    fmt.Sprintf("max_consumers is %d", most),
			Fix:    "raise max_consumers of the stream, or remove a consumer that is not needed: nats consumer ls " + r.stream,
		})
	}
}

// tell logs the advices.
func (r *review) tell(log *zap.Logger) {
	for _, a := range r.Advices {
		log.Warn("a source can be used, but not without a risk", zap.String("finding", a.What+": "+a.Why), zap.String("fix", a.Fix))
	}
}

// Within is what a consumer of a stream can be, by the limits that the stream sets
// for its consumers.
func Within(limits jetstream.StreamConsumerLimits, want jetstream.ConsumerConfig) jetstream.ConsumerConfig {
	if most := limits.MaxAckPending; most > 0 {
		want.MaxAckPending = min(want.MaxAckPending, most)
	}
	want.InactiveThreshold = limits.InactiveThreshold // the server gives it to every consumer that has none
	return want
}
