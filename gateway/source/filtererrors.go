package source

import (
	"errors"

	"go.uber.org/zap"

	"fanjet/gateway/match"
	"fanjet/internal/wire"
)

// filterErrors counts and tells which filters could not be evaluated for one event,
// and so did not match it.
type filterErrors struct {
	matcher *Matcher
	pos     wire.Position

	unreadable *match.UnreadableError // nil: no filter needed what it could not read
	needed     string                 // the first subscription that did
	count      int                    // of all that did
}

// add takes what [match.Matcher.Match] tells.
func (f *filterErrors) add(subscription string, err error) {
	m := f.matcher
	if unreadable, ok := errors.AsType[*match.UnreadableError](err); ok {
		m.opts.Metrics.filterErrors.WithLabelValues(filterUnreadable).Inc()
		if f.count++; f.count == 1 {
			f.unreadable, f.needed = unreadable, subscription
		}
		return
	}
	reason := filterValue
	if match.IsTooCostly(err) {
		reason = filterCost
	}
	m.opts.Metrics.filterErrors.WithLabelValues(reason).Inc()
	m.sampled.Warn("a filter cannot be evaluated; the event does not match it",
		zap.String("subscription", subscription), zap.String("source_event", f.pos.Source()), zap.Error(err))
}

// end tells of an event that filters cannot read: once, however many need it.
func (f *filterErrors) end() {
	if f.count == 0 {
		return
	}
	f.matcher.sampled.Warn("a filter cannot read this event",
		zap.String("source_event", f.pos.Source()), zap.String("reason", f.unreadable.Reason), zap.Int("byte", f.unreadable.Byte),
		zap.String("subscription", f.needed), zap.Int("subscriptions", f.count))
}
