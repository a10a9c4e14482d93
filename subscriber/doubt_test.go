package subscriber

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"fanjet/internal/intake"
	"fanjet/internal/wire"
	"fanjet/subscriber/attempt"
	"fanjet/subscriber/endpoint"
	"fanjet/subscriber/gate"
	"fanjet/subscriber/lanes"
	"fanjet/subscriber/outcome"
)

// doubtful is an endpoint with a queue, whose time passes as the test wants.
type doubtful struct {
	*crowd
	e   *member
	now time.Time
}

func newDoubtful(t *testing.T, change func(*endpoint.Settings)) *doubtful {
	d := &doubtful{crowd: newCrowd(t, 100), now: noon}
	d.e = d.endpoint("a", 0)
	settings := endpoint.Default()
	settings.Name = "a"
	change(&settings)
	d.e.target, d.e.gate = &attempt.Target{Settings: settings}, gate.New(&settings)
	d.e.laned.Store(true)
	d.e.wake = func() {}
	t.Cleanup(func() { d.e.stop() })
	return d
}

// arrive brings deliveries from the lane: f not tried yet, r retries, o too old
// retries, l too old and not tried yet.
func (d *doubtful) arrive(kinds string) {
	for _, kind := range kinds {
		if !d.e.offerLane(&delivery{ep: d.e, lane: true, fresh: kind == 'f' || kind == 'l', old: kind == 'o' || kind == 'l'}, d.now) {
			d.Fatal("it is not taken")
		}
	}
}

// starts returns which of the queue is started, -1 for none.
func (d *doubtful) starts() int {
	before := slices.Clone(d.e.queue)
	dl := d.e.start(d.now)
	if dl == nil {
		return -1
	}
	return slices.Index(before, dl)
}

// answers ends the attempt of a delivery.
func (d *doubtful) answers(dl *delivery, r outcome.Result, event string) (gate.Change, []*delivery) {
	c, _, lapsed := d.e.heard(dl, r, slices.Contains(d.e.target.DeadLetterOn, r.Status), event, d.now)
	d.e.finish(dl, d.now)
	return c, lapsed
}

// opens opens the circuit with answers, or without.
func (d *doubtful) opens(r outcome.Result) {
	d.Helper()
	for !d.e.gate.IsOpen() {
		d.arrive("f")
		d.answers(d.e.start(d.now), r, "msg_1")
	}
	d.now = d.now.Add(d.e.target.Circuit.Probe)
}

// miss makes a probe fail.
func (d *doubtful) miss(r outcome.Result) {
	d.Helper()
	d.now = d.now.Add(time.Hour)
	d.arrive("f")
	d.now = d.now.Add(lanes.QuietTime) // and nothing else comes
	if c, _ := d.answers(d.e.start(d.now), r, "msg_1"); !c.Has(gate.ProbeFailed) {
		d.Fatalf("no probe: changes %b", c)
	}
}

// Retries do not probe while there are deliveries that were not tried yet. The
// more probes are answered, and fail, the further ahead the next one is.
func TestProbesChooseWhatWasNotTried(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		queue  string
		misses int // probes that failed
		now    int // what is started; -1: nothing, another one may come
		later  int // when nothing comes
	}{
		{"f", 0, 0, 0},
		{"r", 0, -1, 0},
		{"rrf", 0, 2, 2},
		{"rfrf", 0, 1, 1},
		{"f", 1, -1, 0},
		{"fff", 1, 1, 1},
		{"frrf", 1, 3, 3},
		{"ffff", 2, 3, 3},
		{"frfr", 2, -1, 2},
		{"rrrr", 2, -1, 0},
	} {
		for _, r := range []outcome.Result{gotStatus(503), gotNone(outcome.ClassTimeout)} {
			t.Run(fmt.Sprint(tt.queue, tt.misses, r.Short()), func(t *testing.T) {
				t.Parallel()
				d := newDoubtful(t, func(*endpoint.Settings) {})
				d.opens(gotStatus(500))
				for range tt.misses {
					d.miss(r)
				}
				d.now = d.now.Add(time.Hour)
				d.arrive(tt.queue)
				now, then := tt.now, tt.later
				if first := strings.IndexByte(tt.queue, 'f'); r.Status == 0 && first >= 0 {
					now, then = first, first // those that are not there have no verdict
				}
				if got := d.starts(); got != now {
					t.Errorf("%d is started, want %d", got, now)
				}
				if now >= 0 {
					return
				}
				d.now = d.now.Add(lanes.QuietTime)
				if got := d.starts(); got != then {
					t.Errorf("when nothing comes %d is started, want %d", got, then)
				}
			})
		}
	}
}

// To find one that was not tried, more and more of the lane is looked at; when
// all of that are retries, one of them will do.
func TestLooksFurtherAhead(t *testing.T) {
	t.Parallel()
	d := newDoubtful(t, func(*endpoint.Settings) {})
	d.opens(gotStatus(500))
	for _, want := range []int{1, 4, 16, 64, 256, lanes.MaxWindow} {
		if got := d.e.LaneWindow(d.now); got != want {
			t.Fatalf("looks %d ahead, want %d", got, want)
		}
		for len(d.e.queue) < want {
			if got := d.starts(); got != -1 {
				t.Fatalf("of %d retries, %d is started", len(d.e.queue), got)
			}
			d.arrive("r")
		}
		if want < lanes.MaxWindow && d.starts() != -1 {
			t.Fatalf("of %d retries, one is started", len(d.e.queue))
		}
	}
	if got := d.starts(); got != 0 {
		t.Errorf("%d is started", got)
	}
	d.e.TakeLane()
	if got := d.e.LaneWindow(d.now) - d.e.inFlight; got != 1 {
		t.Errorf("looks %d ahead at the next one", got)
	}
}

// Retries that come one after the other do not keep the probe back for ever.
func TestProbeDoesNotWaitForEver(t *testing.T) {
	t.Parallel()
	d := newDoubtful(t, func(*endpoint.Settings) {})
	d.opens(gotStatus(500))
	began := d.now
	d.arrive("r")
	for d.starts() == -1 {
		d.now = d.now.Add(lanes.QuietTime / 2)
		d.arrive("r")
		if d.now.Sub(began) > time.Minute {
			t.Fatal("no probe in a minute")
		}
	}
}

// In the fast lane, and in a line, the first is the first.
func TestNothingIsChosenWithoutDoubt(t *testing.T) {
	t.Parallel()
	for name, change := range map[string]func(*endpoint.Settings){
		"healthy": func(*endpoint.Settings) {},
		"ordered": func(e *endpoint.Settings) { e.Ordered = true },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			d := newDoubtful(t, change)
			for n := 0; d.e.target.Ordered && n < 100; n++ { // until it refuses
				p, ok, _ := d.e.gate.Admit(d.now, 0)
				if !ok {
					t.Fatal("it is not admitted")
				}
				d.e.gate.Done(d.now, p, gotStatus(404), true, strconv.Itoa(n))
				d.now = d.now.Add(time.Minute)
			}
			d.arrive("rrf")
			if got := d.starts(); got != 0 {
				t.Errorf("%d is started", got)
			}
		})
	}
}

// What is too old is given up only when a probe has just failed, and not while
// one is due or under way: it may be the next one.
func TestLapses(t *testing.T) {
	t.Parallel()
	d := newDoubtful(t, func(e *endpoint.Settings) { e.Retry.MaxAge = time.Hour })
	probe := d.e.target.Circuit.Probe
	lapses := func(what string, age time.Duration, want bool) {
		t.Helper()
		accepted := nats.Header{wire.HeaderAccepted: {d.now.Add(-age).Format(time.RFC3339Nano)}}
		dl := &delivery{ep: d.e, lane: true, msg: received(&intake.Message{Msg: &nats.Msg{Header: accepted}})}
		if got, _ := d.e.lapses(dl, d.now, func() time.Time { return d.now }); got != want || dl.old != (age > time.Hour && d.e.gate.IsOpen()) {
			t.Errorf("%s: lapses %v, old %v", what, got, dl.old)
		}
	}
	old := 2 * time.Hour
	lapses("circuit closed", old, false)
	d.opens(gotStatus(500))
	lapses("the first probe is due", old, false)
	d.now = d.now.Add(-probe)
	lapses("no probe has failed yet", old, false)
	d.now = d.now.Add(probe)

	d.arrive("oof")
	first := d.e.start(d.now)
	lapses("the probe is under way", old, false)
	d.now = d.now.Add(time.Minute)
	c, lapsed := d.answers(first, gotNone(outcome.ClassConnect), "msg_1")
	if !c.Has(gate.ProbeFailed) || len(lapsed) != 2 || len(d.e.queue) != 0 || !d.e.expiring {
		t.Errorf("changes %b, %d lapse, %d wait, expiring %v", c, len(lapsed), len(d.e.queue), d.e.expiring)
	}
	if is, _ := d.e.LaneReady(d.now); !is {
		t.Error("others that may be too old are not taken from the lane")
	}
	lapses("a probe has failed", old, true)
	lapses("young", time.Minute, false)
	if is, _ := d.e.LaneReady(d.now); is || d.e.expiring {
		t.Error("the lane is read although nothing is too old")
	}
	d.now = d.now.Add(probe)
	lapses("it became too old after that", time.Hour+probe, false)
	d.now = d.now.Add(probe)
	lapses("the next probe is due", old, false)
}

// While an endpoint fails but answers, nothing is given up unattempted: what is
// too old gets one attempt before its time, one at a time. It ends when the
// endpoint does not answer any more, or asks to be left alone.
func TestLastAttempts(t *testing.T) {
	t.Parallel()
	for name, end := range map[string]outcome.Result{
		"no answer":   gotNone(outcome.ClassConnect),
		"retry after": {Class: outcome.Class5xx, Status: 503, RetryAfter: time.Minute},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			d := newDoubtful(t, func(e *endpoint.Settings) { e.Retry.MaxAge = time.Hour })
			d.opens(gotStatus(500))
			d.arrive("olollf")
			probe := d.e.start(d.now)
			if probe == nil || probe.permit.Last {
				t.Fatal("the probe is due and does not go out")
			}
			if c, lapsed := d.answers(probe, gotStatus(500), "msg_1"); !c.Has(gate.ProbeFailed) || len(lapsed) != 2 || len(d.e.queue) < 3 {
				t.Fatalf("%d lapse, %d wait", len(lapsed), len(d.e.queue))
			}
			_, next := d.e.gate.Probing(d.now)
			for range 2 {
				dl := d.e.start(d.now)
				if dl == nil || !dl.old || !dl.permit.Last {
					t.Fatal("what is too old is not attempted")
				}
				if d.starts() >= 0 {
					t.Fatal("two at a time")
				}
				d.answers(dl, gotStatus(500), "msg_2")
				d.arrive("l")
			}
			if _, got := d.e.gate.Probing(d.now); !got.Equal(next) {
				t.Errorf("the next probe is put off by %v", got.Sub(next))
			}
			if is, _ := d.e.LaneReady(d.now); !is {
				t.Error("others that may be too old are not taken from the lane")
			}
			_, lapsed := d.answers(d.e.start(d.now), end, "msg_3")
			if len(lapsed) == 0 || slices.ContainsFunc(d.e.queue, func(dl *delivery) bool { return dl.old }) {
				t.Errorf("%d lapse, %d wait", len(lapsed), len(d.e.queue))
			}
			if d.starts() >= 0 {
				t.Error("it is attempted all the same")
			}
		})
	}
}
