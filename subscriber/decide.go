package subscriber

import (
	"slices"
	"time"

	"fanjet/dlq"
	"fanjet/internal/wire"
	"fanjet/subscriber/endpoint"
	"fanjet/subscriber/outcome"
)

// verb is what to do with a delivery after an attempt.
type verb int

const (
	ack        verb = iota // delivered
	giveBack               // no attempt was made of it: somebody takes it again
	postpone               // the same, at a later time
	reschedule             // try again at a later time
	deadLetter             // give it up
)

// decision is a verb and what it needs.
type decision struct {
	verb   verb
	at     time.Time  // postpone and reschedule: when
	reason dlq.Reason // deadLetter: why
}

// decide is the policy of delivery: what follows from the result of an
// attempt. now is the server's time; random is uniform in [0, 1).
func decide(r outcome.Result, env *wire.Envelope, ep *endpoint.Settings, now time.Time, random float64) decision {
	switch {
	case r.Class == outcome.Class2xx:
		return decision{verb: ack}
	case r.Class == outcome.ClassInterrupted:
		// Promise 4: what we broke ourselves is no attempt.
		return decision{verb: giveBack}
	case r.Class == outcome.ClassLocal:
		return decision{verb: postpone, at: now.Add(localWait)}
	case r.Class == outcome.ClassBlocked:
		// No later attempt can reach it either, until somebody changes the policy.
		return decision{verb: deadLetter, reason: dlq.ReasonBlockedDestination}
	case r.Status != 0 && slices.Contains(ep.DeadLetterOn, r.Status):
		return decision{verb: deadLetter, reason: dlq.ReasonRejected}
	case env.Attempt > len(ep.Retry.Schedule):
		return decision{verb: deadLetter, reason: dlq.ReasonExhausted}
	}
	wait := max(ep.Retry.Wait(env.Attempt, random), r.RetryAfter)
	at := now.Add(wait)
	if ep.Retry.MaxAge > 0 && at.After(env.Accepted.Add(ep.Retry.MaxAge)) {
		return decision{verb: deadLetter, reason: dlq.ReasonExpired}
	}
	return decision{verb: reschedule, at: at}
}
