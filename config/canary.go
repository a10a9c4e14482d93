package config

import (
	"strings"
	"time"

	"fanjet/gateway/match"
)

// CanaryEndpoint is the name of the endpoint that canaries are delivered to. It
// cannot be declared.
const CanaryEndpoint = "fanjet-canary"

// Canary are the settings of the events that a gateway sends to itself.
type Canary struct {
	Subject string        // of a source; empty: there are no canaries
	Every   time.Duration // from one to the next
	MaxAge  time.Duration // a gateway to which none came for so long is not ready
}

func (l *loader) canary(n *node) {
	if n == nil || !l.is(n, kindMap) || len(n.pairs) == 0 {
		return
	}
	c := Canary{Subject: "events.fanjet.canary", Every: 30 * time.Second}
	at := n
	var ageNode *node
	l.fields(n, fields{
		"subject": func(n *node) {
			at = n
			if text, ok := l.text(n); ok {
				c.Subject = text
			}
		},
		"every":   func(n *node) { l.duration(n, &c.Every, span{least: time.Second, most: time.Hour}) },
		"max_age": func(n *node) { ageNode = n; l.duration(n, &c.MaxAge, span{least: time.Second, most: day}) },
	})
	if c.MaxAge == 0 {
		c.MaxAge = 4 * c.Every
	}
	switch {
	case match.CheckSubject(c.Subject) != nil || strings.ContainsAny(c.Subject, "*>"):
		l.errorf(at, "must be one subject, without * and >, such as events.fanjet.canary")
	case !l.sourcesFailed && !l.covered(c.Subject):
		l.errorf(at, "no source has the subject %s: set canary.subject to one that a source has; subscriptions do not see it", c.Subject)
	case ageNode != nil && c.MaxAge < 2*c.Every:
		l.errorf(ageNode, "must be at least twice as long as every, which is %s: a canary that is a little late is no fault", formatDuration(c.Every))
	}
	l.cfg.Canary = c
}
