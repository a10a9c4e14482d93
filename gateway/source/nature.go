package source

import (
	"context"
	"strings"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"go.uber.org/zap"

	"fanjet/internal/intake"
	"fanjet/internal/wire"
)

// nature is what JetStream itself does in a source stream, as its configuration
// says. Whatever a header claims beyond that, a producer wrote.
type nature struct {
	sourced   bool // it is filled from other streams
	mirror    bool // it is the copy of another one
	schedules bool // messages may be schedules
	markers   bool // the server marks subjects whose last message expired
}

func natureOf(c jetstream.StreamConfig) nature {
	return nature{
		sourced: len(c.Sources) > 0, mirror: c.Mirror != nil,
		schedules: c.AllowMsgSchedules, markers: c.SubjectDeleteMarkerTTL > 0,
	}
}

// Headers that the server writes or acts on, besides [jetstream.ScheduleHeader]. It finds them in this spelling only.
const (
	headerMarkerReason = "Nats-Marker-Reason"
	headerRollup       = "Nats-Rollup"
	headerTTL          = "Nats-TTL"
)

// Why a message of a source is no event.
const (
	ignoredSchedule = "schedule"      // it is published when its time has come, as another message
	ignoredMarker   = "delete_marker" // the server says that the last message of a subject expired
)

// notes reports whether a message has a header that means something else in
// streams of another nature.
func notes(h nats.Header) bool {
	return len(h) > 0 && (h.Get(jetstream.ScheduleHeader) != "" || h.Get(headerMarkerReason) != "" || h.Get(wire.HeaderStreamSource) != "")
}

// origin reports whether the server says of a message from which stream it comes.
// A mirror of an aggregate has what that has: nobody publishes into either.
func (n nature) origin(h nats.Header) bool {
	return (n.sourced || n.mirror) && h.Get(wire.HeaderStreamSource) != ""
}

// ignored says why a message is no event; empty: it is one.
//
// A stream that takes no schedules refuses them. But what is taken over from
// another stream is stored as it is there, without a word in the configuration of
// this one (nats-server 2.15.3).
func (n nature) ignored(h nats.Header, data []byte) (reason string) {
	taken := n.mirror || n.origin(h)
	switch {
	case h.Get(jetstream.ScheduleHeader) != "" && (n.schedules || taken):
		return ignoredSchedule
	case h.Get(headerMarkerReason) != "" && len(data) == 0 && (n.markers && madeByServer(h) || taken && madeByServer(h) && expires(h)):
		return ignoredMarker
	}
	return ""
}

// madeByServer reports whether a message with a reason for a marker can be one: it
// has nothing that only clients write.
func madeByServer(h nats.Header) bool {
	switch h.Get(headerMarkerReason) {
	case "MaxAge", "Purge", "Remove":
	default:
		return false
	}
	for name := range h {
		if !strings.HasPrefix(name, "Nats-") || name == nats.MsgIdHdr || strings.HasPrefix(name, "Nats-Expected-") {
			return false
		}
	}
	return true
}

// expires reports whether a message has all that the server gives to a marker. A
// producer may write it only where the stream allows both.
func expires(h nats.Header) bool { return h.Get(headerRollup) == "sub" && h.Get(headerTTL) != "" }

// natureWatch keeps what is known about the nature of a source. The zero value
// knows nothing.
type natureWatch struct{ known atomic.Pointer[readNature] }

type readNature struct {
	nature
	at, server time.Time // when it was read, by the clocks of this machine and of the server
}

// learn notes what the stream is like now.
func (w *natureWatch) learn(info *jetstream.StreamInfo) nature {
	n := readNature{nature: natureOf(info.Config), at: time.Now(), server: info.TimeStamp}
	w.known.Store(&n)
	return n.nature
}

// naturePause is how often the stream is looked at, at most, because of a header
// that producers may write into any stream. The others servers refuse where they
// mean nothing, so that they hardly ever come.
const naturePause = time.Second

// settles reports whether what was read says what a message is that has nothing of
// that nature. What a stream allows changes rarely, but without a word to anybody.
func (n *readNature) settles(msg *intake.Message) bool {
	h := msg.Msg.Header
	if h.Get(jetstream.ScheduleHeader) == "" && h.Get(wire.HeaderStreamSource) == "" {
		return time.Since(n.at) < naturePause
	}
	return msg.Stored.Before(n.server)
}

// classify says what a message of the source is: why it is no event, or empty, and
// whether its origin is known. If the stream is not known to do what a header
// speaks of, it is looked at once more: to POST what is no event cannot be undone.
// It waits for the answer; ok is false when ctx ended.
func (m *Matcher) classify(ctx context.Context, msg *intake.Message) (reason string, origin, ok bool) {
	header, data := msg.Msg.Header, msg.Msg.Data
	if !notes(header) {
		return "", false, true
	}
	known := m.nature.known.Load()
	reason, origin = known.ignored(header, data), known.origin(header)
	if reason != "" || origin || known.settles(msg) {
		return reason, origin, true
	}
	for {
		stream, err := m.opts.JetStream.Stream(ctx, m.stream)
		if err == nil {
			now := m.nature.learn(stream.CachedInfo())
			return now.ignored(header, data), now.origin(header), true
		}
		if ctx.Err() != nil {
			return "", false, false
		}
		m.sampled.Warn("it is not known whether a message is an event; it waits", zap.Error(err))
		select {
		case <-ctx.Done():
			return "", false, false
		case <-time.After(naturePause / 4):
		}
	}
}
