package source

import (
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"fanjet/internal/wire"
)

// What a header says counts only where JetStream itself can have written it, or
// acts on it: servers before 2.15 store what a producer makes up.
func TestNatureOfHeaders(t *testing.T) {
	t.Parallel()
	schedule := nats.Header{jetstream.ScheduleHeader: {"@every 1s"}}
	origin := nats.Header{wire.HeaderStreamSource: {"SHOP 1 > > shop.paid"}, jetstream.ScheduleHeader: {"@every 1s"}}
	marker := nats.Header{headerMarkerReason: {"MaxAge"}, headerRollup: {"sub"}, headerTTL: {"1s"}}
	short := nats.Header{headerMarkerReason: {"Remove"}}
	sourced := nats.Header{wire.HeaderStreamSource: {"SHOP 1 > > shop.paid"}, headerMarkerReason: {"MaxAge"}, headerRollup: {"sub"}, headerTTL: {"1s"}}
	for name, tt := range map[string]struct {
		stream jetstream.StreamConfig
		header nats.Header
		data   string
		reason string
		origin bool
	}{
		"a schedule, made up":               {header: schedule},
		"a schedule":                        {stream: jetstream.StreamConfig{AllowMsgSchedules: true}, header: schedule, data: "x", reason: ignoredSchedule},
		"a schedule in a mirror":            {stream: jetstream.StreamConfig{Mirror: &jetstream.StreamSource{Name: "A"}}, header: schedule, reason: ignoredSchedule},
		"published into an aggregate":       {stream: jetstream.StreamConfig{Sources: []*jetstream.StreamSource{{Name: "A"}}}, header: schedule},
		"taken over into an aggregate":      {stream: jetstream.StreamConfig{Sources: []*jetstream.StreamSource{{Name: "A"}}}, header: origin, reason: ignoredSchedule, origin: true},
		"an origin, made up":                {header: origin},
		"a marker, made up":                 {header: marker},
		"a marker, made up, with TTLs":      {stream: jetstream.StreamConfig{AllowMsgTTL: true, AllowRollup: true}, header: marker},
		"a marker":                          {stream: jetstream.StreamConfig{SubjectDeleteMarkerTTL: time.Second}, header: marker, reason: ignoredMarker},
		"a marker of another reason":        {stream: jetstream.StreamConfig{SubjectDeleteMarkerTTL: time.Second}, header: short, reason: ignoredMarker},
		"a marker with a body":              {stream: jetstream.StreamConfig{SubjectDeleteMarkerTTL: time.Second}, header: marker, data: "x"},
		"a marker in a mirror":              {stream: jetstream.StreamConfig{Mirror: &jetstream.StreamSource{Name: "A"}}, header: marker, reason: ignoredMarker},
		"half a marker in a mirror":         {stream: jetstream.StreamConfig{Mirror: &jetstream.StreamSource{Name: "A"}}, header: short},
		"a marker, taken over":              {stream: jetstream.StreamConfig{Sources: []*jetstream.StreamSource{{Name: "A"}}}, header: sourced, reason: ignoredMarker, origin: true},
		"a marker, made up, not taken over": {stream: jetstream.StreamConfig{Sources: []*jetstream.StreamSource{{Name: "A"}}}, header: marker},
	} {
		n := natureOf(tt.stream)
		if !notes(tt.header) {
			t.Errorf("%s: nobody looks at it", name)
		}
		if reason, from := n.ignored(tt.header, []byte(tt.data)), n.origin(tt.header); reason != tt.reason || from != tt.origin {
			t.Errorf("%s: ignored as %q, of a known origin %v; want %q, %v", name, reason, from, tt.reason, tt.origin)
		}
	}
}
