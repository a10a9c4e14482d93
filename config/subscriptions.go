package config

import (
	"errors"
	"maps"
	"slices"
	"strings"
	"unicode"

	"fanjet/gateway/match"
	"fanjet/internal/slip"
)

// maxName bounds the name of a subscription, in bytes.
const maxName = 100

// subscriptions reads the subscriptions of one file.
func (l *loader) subscriptions(n *node) {
	if n == nil {
		return
	}
	for _, item := range l.list(n) {
		l.subscription(item)
	}
}

func (l *loader) subscription(n *node) {
	var s match.Subscription
	right := !l.fails(func() { l.subscriptionFields(n, &s) })
	if n.kind != kindMap {
		return
	}
	if n.get("name") == nil {
		l.errorf(n, "name is missing: give the subscription a name of its own")
	}
	l.required(n, "subjects", `name those that it takes, such as ["events.>"]`)
	l.required(n, "endpoints", "name those that get its events")
	if right && len(s.Subjects) > 0 && len(s.Endpoints) > 0 {
		l.sameSubscription(n, &s)
		l.constant(n.get("filter"), &s)
	}
	l.cfg.Subscriptions = append(l.cfg.Subscriptions, s)
}

func (l *loader) subscriptionFields(n *node, s *match.Subscription) {
	l.fields(n, fields{
		"name":      func(n *node) { l.subscriptionName(n, &s.Name) },
		"subjects":  func(n *node) { s.Subjects = l.subjects(n) },
		"filter":    func(n *node) { l.filter(n, &s.Filter) },
		"endpoints": func(n *node) { s.Endpoints = l.endpointNames(n) },
	})
}

// required reports a list that is missing or empty.
func (l *loader) required(n *node, key, what string) {
	if list := n.get(key); list == nil {
		l.errorf(n, "%s are missing: %s", key, what)
	} else if list.kind == kindList && len(list.items) == 0 {
		l.errorf(list, "is empty: %s", what)
	}
}

func (l *loader) subscriptionName(n *node, v *string) {
	text, ok := l.text(n)
	if !ok {
		return
	}
	switch before := l.named[text]; {
	case text == "" || len(text) > maxName || text != strings.TrimSpace(text) || strings.ContainsFunc(text, notPrintable):
		l.errorf(n, "must be 1 to %d printable characters, without spaces at its ends", maxName)
	case before != nil:
		l.errorf(n, "a subscription %s is already declared at %s: rename or remove one of them", quote(text), before.place())
	default:
		l.named[text] = n
		*v = text
	}
}

func notPrintable(r rune) bool { return !unicode.IsPrint(r) }

func (l *loader) subjects(n *node) []string {
	var subjects []string
	l.texts(n, func(item *node, text string) {
		if err := match.CheckSubject(text); err != nil {
			l.errorf(item, "%v", err)
			return
		}
		l.wildcards(item, text)
		if !l.sourcesFailed && !l.covered(text) {
			l.warnf(item, "%s matches nothing: %s", text, l.whatSourcesHave(text))
		}
		subjects = append(subjects, text)
	})
	return subjects
}

// filter compiles a filter. Its errors are shown where they are in the file.
func (l *loader) filter(n *node, v *string) {
	text, ok := l.text(n)
	if !ok {
		return
	}
	var before *match.Filters
	if l.opts.Before != nil {
		before = l.opts.Before.Filters
	}
	err := l.cfg.Filters.Check(text, before)
	if filterErr, ok := errors.AsType[*match.FilterError](err); ok {
		place := *n
		place.line, place.column = n.locate(filterErr.Line, filterErr.Column)
		l.errorf(&place, "%s", filterErr.Message)
		return
	}
	if err != nil {
		l.errorf(n, "%v", err)
		return
	}
	if costly := l.cfg.Filters.Warning(text); costly != nil {
		place := *n
		place.line, place.column = n.locate(costly.Line, costly.Column)
		l.warnf(&place, "%s", costly.Message)
	}
	*v = text
}

func (l *loader) endpointNames(n *node) []string {
	var names []string
	l.texts(n, func(item *node, text string) {
		if l.declared[text] == nil {
			if !l.incomplete {
				l.errorf(item, "there is no endpoint %s%s", quote(text), l.didYouMeanEndpoint(text))
			}
			return
		}
		l.used[text] = true
		names = append(names, text)
	})
	return names
}

// maxGuesses bounds how many unknown endpoints get a suggestion: each is
// compared with all that are known.
const maxGuesses = 20

// didYouMeanEndpoint is the end of a message about an endpoint that is not
// known.
func (l *loader) didYouMeanEndpoint(name string) string {
	if l.guesses++; l.guesses > maxGuesses {
		return ""
	}
	return slip.DidYouMean(name, slices.Collect(maps.Keys(l.declared)))
}
