package lanes

import (
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// looksAt has the consumer of every lane at a floor.
func (l *Lanes) looksAt(floor uint64, err error) {
	l.opts.Consumers = fakeConsumers{floor: floor, look: err}
}

// A lane is truncated up to the floor of its consumer, once for each floor, and never
// by one that is past the end of the stream: what comes there next would be lost.
func TestLaneIsTruncatedUpToTheFloor(t *testing.T) {
	t.Parallel()
	stream := &fakeStream{state: jetstream.StreamState{LastSeq: 9}}
	l, _ := lanesOf(t, stream, nil)
	lane := newLane(l, "a")
	for _, step := range []struct {
		floor uint64
		purge uint64 // what is kept from there on; 0: nothing is purged
		err   error
	}{
		{floor: 0},
		{floor: 3, purge: 4},
		{floor: 3},
		{floor: 9, purge: 10},
		{floor: 9},
		{floor: 10, err: errPastEnd},
		{floor: 100, err: errPastEnd},
		{floor: 5}, // the server went back meanwhile
		{floor: 9, purge: 10},
	} {
		stream.purges = nil
		err := l.purge(t.Context(), lane, step.floor)
		var want []jetstream.StreamPurgeRequest
		if step.purge > 0 {
			want = []jetstream.StreamPurgeRequest{{Subject: "fanjet.lane.a", Sequence: step.purge}}
		}
		if !errors.Is(err, step.err) || !slices.Equal(stream.purges, want) {
			t.Errorf("floor %d: %v, purged %+v, want %+v", step.floor, err, stream.purges, want)
		}
	}
	stream.fails = map[string]error{"purge": errors.New("no answer")}
	stream.state.LastSeq = 20
	for range 2 { // it is not done until it is
		stream.purges = nil
		if err := l.purge(t.Context(), lane, 12); err == nil || len(stream.purges) != 1 {
			t.Errorf("%v, purged %+v", err, stream.purges)
		}
	}
}

// Nothing is removed by a floor that is not known or not trusted.
func TestLaneWithoutAFloorIsLeftAlone(t *testing.T) {
	t.Parallel()
	for _, err := range []error{jetstream.ErrConsumerNotFound, errors.New("its floor cannot be trusted")} {
		stream := &fakeStream{state: jetstream.StreamState{LastSeq: 9}}
		l, _ := lanesOf(t, stream, nil)
		l.looksAt(5, err)
		lane := &lane{all: l, name: "a", count: 1}
		l.sweepOne(t.Context(), lane, true)
		if stream.purges != nil || lane.swept {
			t.Errorf("%v: purged %+v, swept %v", err, stream.purges, lane.swept)
		}
	}
}

// Which lanes are truncated: those that are pulled, and each once more after that. When
// there are many they are truncated together, but for one that is long, now and then.
func TestWhichLanesAreTruncated(t *testing.T) {
	t.Parallel()
	pulled := func() {}
	for name, test := range map[string]struct {
		lane *lane
		many bool
		want bool
	}{
		"pulled":                     {lane: &lane{count: 1, cancel: pulled}, want: true},
		"pulled, and empty":          {lane: &lane{cancel: pulled}},
		"was pulled":                 {lane: &lane{count: 1, began: noon}, want: true},
		"was pulled, and is swept":   {lane: &lane{count: 1, began: noon, swept: true}},
		"was never pulled":           {lane: &lane{count: 1}},
		"one of many":                {lane: &lane{count: longLane, cancel: pulled}, many: true},
		"one of many, long":          {lane: &lane{count: longLane + 1, cancel: pulled}, many: true, want: true},
		"one of many, long, again":   {lane: &lane{count: longLane + 1, cancel: pulled, truncated: noon.Add(-longSweep)}, many: true},
		"one of many, long, at rest": {lane: &lane{count: longLane + 1, began: noon}, many: true},
	} {
		stream := &fakeStream{state: jetstream.StreamState{LastSeq: 9}}
		l, _ := lanesOf(t, stream, nil)
		l.looksAt(5, nil)
		test.lane.all, test.lane.name = l, "a"
		l.truncate(t.Context(), test.lane, noon, test.many)
		if got := len(stream.purges) == 1; got != test.want || got != test.lane.truncated.Equal(noon) {
			t.Errorf("%s: %v, last looked at %v", name, got, test.lane.truncated)
		}
		if swept := test.lane.swept; test.want && swept != !test.lane.active() {
			t.Errorf("%s: swept %v", name, swept)
		}
	}
}

// A lane that gave way holds nothing once it is swept, unless something was stored
// since, or it was pulled meanwhile.
func TestSweptOnce(t *testing.T) {
	t.Parallel()
	gave := noon.Add(-time.Second)
	for name, test := range map[string]struct {
		lane  *lane
		gave  time.Time
		swept bool
		count uint64
	}{
		"halted":             {lane: &lane{count: 3}, swept: true, count: 3},
		"gave way":           {lane: &lane{count: 3, gaveWay: gave}, gave: gave, swept: true},
		"stored since":       {lane: &lane{count: 3, gaveWay: gave, hinted: noon}, gave: gave, swept: true, count: 3},
		"stored before":      {lane: &lane{count: 3, gaveWay: gave, hinted: gave}, gave: gave, swept: true},
		"pulled meanwhile":   {lane: &lane{count: 3, cancel: func() {}}, count: 3},
		"gave way once more": {lane: &lane{count: 3, gaveWay: noon}, gave: gave, count: 3},
	} {
		test.lane.sweptOnce(test.gave)
		if test.lane.swept != test.swept || test.lane.count != test.count {
			t.Errorf("%s: swept %v, %d left", name, test.lane.swept, test.lane.count)
		}
	}
}

func TestManyLanes(t *testing.T) {
	t.Parallel()
	l, _ := lanesOf(t, new(fakeStream), nil)
	for i := range manyLanes + 10 {
		l.byName[string(rune('a'+i))] = &lane{all: l}
	}
	n := 0
	for _, lane := range l.byName {
		if got, want := l.many(), n >= manyLanes; got != want {
			t.Fatalf("%d that hold something are many: %v", n, got)
		}
		lane.count = 1
		n++
	}
}
