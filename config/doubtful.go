package config

import (
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/nats-io/nats-server/v2/server"

	"fanjet/gateway/match"
)

// What is warned of here is no error, and is surely not what was meant.

// falling warns of a schedule whose waits get shorter.
func (l *loader) falling(n *node, waits []time.Duration) {
	for i := 1; i < len(waits); i++ {
		if waits[i] < waits[i-1] {
			l.warnf(n.items[i], "is shorter than the wait before it, %s: an endpoint that is down is asked more often the longer that lasts; put the waits in rising order",
				formatDuration(waits[i-1]))
			return
		}
	}
}

// passing warns of a status after which no attempt is made any more, although a later one
// is likely to be accepted (RFC 9110, 15.5.9 and 15.6; RFC 6585, 4).
func (l *loader) passing(n *node, status int) {
	switch {
	case status == http.StatusTooManyRequests:
		l.warnf(n, "dead-letters what the receiver wants later: 429 says that there is too much at the moment; leave it out, and the retries follow its Retry-After")
	case status == http.StatusRequestTimeout || status == http.StatusTooEarly || status >= 500 && status != http.StatusNotImplemented && status != http.StatusHTTPVersionNotSupported:
		l.warnf(n, "dead-letters at the first attempt what a later one can deliver: %d says that the receiver is in trouble, not that it does not want the event; leave it out", status)
	}
}

// unread warns of the sources whose events no subscription can get.
func (l *loader) unread() {
	for i, s := range l.cfg.Sources {
		if i >= len(l.sourceNodes) || len(s.Subjects) == 0 {
			continue // it is the default, or has any subjects
		}
		read := slices.ContainsFunc(s.Subjects, func(own string) bool {
			collides := func(subject string) bool { return server.SubjectsCollide(own, subject) }
			return l.cfg.Canary.Subject != "" && collides(l.cfg.Canary.Subject) ||
				slices.ContainsFunc(l.cfg.Subscriptions, func(s match.Subscription) bool { return slices.ContainsFunc(s.Subjects, collides) })
		})
		if !read {
			l.warnf(l.sourceNodes[i], "no subscription takes events of this source: they are read and dropped; subscribe to %s, or remove the source", s.Subjects[0])
		}
	}
}

// sameSubscription warns of a subscription that says what another one says.
func (l *loader) sameSubscription(n *node, s *match.Subscription) {
	sorted := func(list []string) string {
		list = slices.Clone(list)
		slices.Sort(list)
		return strings.Join(slices.Compact(list), " ")
	}
	said := sorted(s.Subjects) + "\n" + sorted(s.Endpoints) + "\n" + strings.TrimSpace(s.Filter)
	if before := l.said[said]; before != nil {
		l.warnf(n, "has the subjects, filter and endpoints of the subscription at %s: an endpoint gets an event once, so one of them does nothing; remove it", before.place())
		return
	}
	l.said[said] = n
}

// constant warns of a filter that has one value, whatever is in an event.
func (l *loader) constant(n *node, s *match.Subscription) {
	switch value, is := l.cfg.Filters.Constant(s.Filter, s.Subjects); {
	case is && value:
		l.warnf(n, "is true for every event on the subjects of the subscription: it does nothing; remove it")
	case is:
		l.warnf(n, "is false for every event on the subjects of the subscription: its endpoints get nothing by it")
	}
}

// wildcards warns of tokens that are wildcards elsewhere, in MQTT and AMQP, and words in
// NATS, which no producer uses.
func (l *loader) wildcards(n *node, subject string) {
	for token := range strings.SplitSeq(subject, ".") {
		switch token {
		case "#":
			l.warnf(n, "# is no wildcard in NATS, and taken as it is: write > at the end for one token or more")
		case "+":
			l.warnf(n, "+ is no wildcard in NATS, and taken as it is: write * for one token")
		}
	}
}

// whatSourcesHave is the end of a message about a subject that no source has.
func (l *loader) whatSourcesHave(subject string) string {
	const shown = 5
	var all []string
	meant := ""
	for _, s := range l.cfg.Sources {
		all = append(all, s.Subjects...)
		for _, own := range s.Subjects {
			prefix, open := strings.CutSuffix(own, ">")
			if meant == "" && open && prefix != "" && server.SubjectsCollide(prefix+subject, own) {
				meant = "; did you mean " + prefix + subject + "?"
			}
		}
	}
	if len(all) > shown {
		all = append(all[:shown], "more")
	}
	return "the sources have " + strings.Join(all, ", ") + meant
}
