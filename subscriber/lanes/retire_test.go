package lanes

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// idle is a consumer that has nothing to do.
func idle() *jetstream.ConsumerInfo {
	return &jetstream.ConsumerInfo{
		Name: "c", Created: noon.Add(-time.Hour), TimeStamp: noon, Delivered: jetstream.SequenceInfo{Consumer: 7},
	}
}

// The consumer of an empty lane is removed only if a second look, while it is paused,
// finds that nothing was handed out: an ack to one that is gone is lost. Else it goes
// on.
func TestConsumerIsRemovedAfterASecondLook(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		holds bool // the lane does
		after func(*jetstream.ConsumerInfo)
		fails string
		want  string // what is done in the end
	}{
		"nothing happened":             {want: "look delete"},
		"something is in the lane":     {holds: true, want: "info"},
		"something was handed out":     {after: func(c *jetstream.ConsumerInfo) { c.Delivered.Consumer++ }, want: "look resume"},
		"something is in flight":       {after: func(c *jetstream.ConsumerInfo) { c.NumAckPending = 1 }, want: "look resume"},
		"something came":               {after: func(c *jetstream.ConsumerInfo) { c.NumPending = 1 }, want: "look resume"},
		"it was made anew":             {after: func(c *jetstream.ConsumerInfo) { c.Created = noon }, want: "look resume"},
		"somebody resumed it":          {after: func(c *jetstream.ConsumerInfo) { c.Paused = false }, want: "look resume"},
		"the lane cannot be looked at": {fails: "info", want: "info"},
		"it cannot be paused":          {fails: "pause", want: "pause"},
		"it cannot be looked at again": {fails: "look", want: "look"},
	} {
		stream := &fakeStream{look: idle()}
		stream.look.Paused = true
		if test.holds {
			stream.state.Subjects = map[string]uint64{"fanjet.lane.a": 1}
		}
		if test.after != nil {
			test.after(stream.look)
		}
		wrong := errors.New("wrong")
		stream.fails = map[string]error{test.fails: wrong}
		l, _ := lanesOf(t, stream, nil)
		err := l.retireOne(t.Context(), stream, "a", idle())
		if errors.Is(err, wrong) != (test.fails != "") {
			t.Errorf("%s: %v", name, err)
		}
		if did := strings.Join(stream.did, " "); !strings.HasSuffix(did, test.want) {
			t.Errorf("%s: %s, want %s", name, did, test.want)
		}
	}
}

// A consumer has rested when it had nothing for as long as it rests.
func TestRested(t *testing.T) {
	t.Parallel()
	long, short := noon.Add(-time.Minute-1), noon.Add(-time.Minute)
	for name, test := range map[string]struct {
		change func(*jetstream.ConsumerInfo)
		want   bool
	}{
		"never used":             {func(c *jetstream.ConsumerInfo) {}, true},
		"made a moment ago":      {func(c *jetstream.ConsumerInfo) { c.Created = short }, false},
		"used long ago":          {func(c *jetstream.ConsumerInfo) { c.Delivered.Last, c.AckFloor.Last = &long, &long }, true},
		"handed out":             {func(c *jetstream.ConsumerInfo) { c.Delivered.Last, c.AckFloor.Last = &short, &long }, false},
		"acknowledged":           {func(c *jetstream.ConsumerInfo) { c.Delivered.Last, c.AckFloor.Last = &long, &short }, false},
		"has more":               {func(c *jetstream.ConsumerInfo) { c.NumPending = 1 }, false},
		"waits for acks":         {func(c *jetstream.ConsumerInfo) { c.NumAckPending = 1 }, false},
		"another removes it now": {func(c *jetstream.ConsumerInfo) { c.Paused = true }, false},
	} {
		info := idle()
		test.change(info)
		if got := rested(info, time.Minute); got != test.want {
			t.Errorf("%s: %v", name, got)
		}
	}
}

// A lane that this replica pulls, or that holds something, keeps its consumer.
func TestLaneThatIsUsed(t *testing.T) {
	t.Parallel()
	l, _ := lanesOf(t, new(fakeStream), nil)
	l.byName = map[string]*lane{
		"empty": {all: l}, "holds": {all: l, count: 1}, "pulled": {all: l, cancel: func() {}},
	}
	for name, want := range map[string]bool{"unknown": false, "empty": false, "holds": true, "pulled": true} {
		if got := l.uses(name); got != want {
			t.Errorf("%s: %v", name, got)
		}
	}
}
