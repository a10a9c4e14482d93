package config

import (
	"slices"
	"strings"
	"time"

	"github.com/nats-io/nats-server/v2/server"

	"fanjet/gateway/match"
	"fanjet/internal/wire"
)

// Bounds of the settings of streams.
const (
	minStreamAge = time.Second
	maxStreamAge = 3650 * day
	maxSubjects  = 1000 // of all sources; each is compared with each
)

// defaultSource is the source of a configuration that names none; its age is
// the default of every source.
func defaultSource() Source {
	return Source{Stream: "EVENTS", Subjects: []string{"events.>"}, Create: true, MaxAge: 168 * time.Hour}
}

// sourceSubject is a subject of a source, and where it is declared.
type sourceSubject struct {
	text string
	at   *node
}

func (l *loader) sources(n *node) {
	if n == nil {
		l.cfg.Sources = []Source{defaultSource()}
		return
	}
	items := l.list(n)
	if n.kind == kindList && len(items) == 0 {
		l.errorf(n, "is empty: name a stream of events, or leave sources out for EVENTS with events.>")
	}
	streams := make(map[string]*node)
	var subjects []sourceSubject
	for _, item := range items {
		l.cfg.Sources = append(l.cfg.Sources, l.source(item, streams, &subjects))
		l.sourceNodes = append(l.sourceNodes, item)
	}
}

func (l *loader) source(n *node, streams map[string]*node, subjects *[]sourceSubject) Source {
	s := Source{Create: true, MaxAge: defaultSource().MaxAge}
	var ageNode, bytesNode *node
	l.fields(n, fields{
		"stream": func(n *node) { l.stream(n, &s.Stream, streams) },
		"subjects": func(n *node) {
			l.texts(n, func(item *node, text string) {
				if l.sourceSubject(item, text, *subjects) {
					s.Subjects = append(s.Subjects, text)
					*subjects = append(*subjects, sourceSubject{text: text, at: item})
				}
			})
		},
		"create": func(n *node) { l.boolean(n, &s.Create) },
		"max_age": func(n *node) {
			ageNode = n
			l.duration(n, &s.MaxAge, span{least: minStreamAge, most: maxStreamAge, zero: true})
		},
		"max_bytes": func(n *node) { bytesNode = n; l.size(n, &s.MaxBytes) },
		"identity": func(n *node) {
			text, _ := l.oneOf(n, "auto", "position")
			s.ByPosition = text == "position"
		},
	})
	if n.kind != kindMap {
		return s
	}
	if n.get("stream") == nil {
		l.errorf(n, "stream is missing: name the stream of events")
	}
	if list := n.get("subjects"); s.Create && (list == nil || list.kind == kindList && len(list.items) == 0) {
		l.errorf(n, `subjects are missing: name those of the stream, such as ["events.>"], or set create to false for a stream that exists`)
	}
	if !s.Create {
		for _, n := range []*node{ageNode, bytesNode} {
			if n != nil {
				l.warnf(n, "has no effect: Fanjet changes nothing about a stream with create: false")
			}
		}
		s.MaxAge, s.MaxBytes = 0, 0
	}
	return s
}

func (l *loader) stream(n *node, v *string, streams map[string]*node) {
	text, ok := l.text(n)
	if !ok {
		return
	}
	names := wire.NewNames(l.cfg.NATS.Prefix)
	own := []string{
		names.DeliveriesStream(), names.RetriesStream(), names.LanesStream(), names.DeadLettersStream(), names.AuditStream(),
		"KV_" + names.StateBucket(), strings.ToUpper(names.Prefix()) + "_ATTEMPTS", // the last one is yet to come
	}
	switch before := streams[text]; {
	case text == "" || len(text) > server.JSMaxNameLen || strings.ContainsFunc(text, notInStreamName):
		l.errorf(n, `must be the name of a stream: without spaces and without . * > / \, at most %d characters`, server.JSMaxNameLen)
	case slices.Contains(own, text):
		l.errorf(n, "%s is a stream of Fanjet itself: choose another name, or another nats.prefix", text)
	case before != nil:
		l.errorf(n, "stream %s is already a source at %s: list all its subjects there", text, before.place())
	default:
		streams[text] = n
		*v = text
	}
}

func notInStreamName(r rune) bool {
	return r <= ' ' || r == 0x7f || strings.ContainsRune(`.*>/\`, r)
}

// sourceSubject reports whether a subject may be one of a source.
func (l *loader) sourceSubject(n *node, text string, before []sourceSubject) bool {
	if err := match.CheckSubject(text); err != nil {
		l.errorf(n, "%v", err)
		return false
	}
	reserved := []string{wire.NewNames(l.cfg.NATS.Prefix).AllSubjects(), "$JS.>", "$KV.>", "$SYS.>", "_INBOX.>"}
	for _, own := range reserved {
		if server.SubjectsCollide(text, own) {
			l.errorf(n, "overlaps %s, which Fanjet or NATS itself uses: choose a narrower subject, such as events.>", own)
			return false
		}
	}
	l.wildcards(n, text)
	if len(before) >= maxSubjects {
		l.errorf(n, "is one subject too many: all sources together have at most %d", maxSubjects)
		return false
	}
	for _, other := range before {
		if server.SubjectsCollide(text, other.text) {
			l.errorf(n, "overlaps %s at %s: an event must be in one stream only", other.text, other.at.place())
			return false
		}
	}
	return true
}

// covered reports whether a source can have events on a subject.
func (l *loader) covered(subject string) bool {
	return slices.ContainsFunc(l.cfg.Sources, func(s Source) bool {
		return len(s.Subjects) == 0 || slices.ContainsFunc(s.Subjects, func(own string) bool {
			return server.SubjectsCollide(subject, own)
		})
	})
}
