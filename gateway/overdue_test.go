package gateway

import (
	"errors"
	"fmt"
	"maps"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest"

	"fanjet/gateway/topology"
	"fanjet/internal/jsapi"
	"fanjet/internal/natstest"
	"fanjet/internal/servertime"
	"fanjet/internal/wire"
	"fanjet/subscriber/endpoint"
)

// failFirst answers 500 to first attempts, and 200 to all others.
func failFirst(r request) int {
	if r.attempt == "1" {
		return 500
	}
	return 200
}

// retryIn lets an endpoint try again after a time.
func retryIn(wait time.Duration) func(*endpoint.Settings) {
	return func(e *endpoint.Settings) {
		e.Retry.Schedule = []time.Duration{wait, time.Hour}
		e.Retry.Jitter = 0
	}
}

// startHurried runs a gateway that soon takes a retry for overdue.
func (w *world) startHurried(change ...func(*Gateway)) *Gateway {
	w.Helper()
	gw, err := New(Options{
		Config: w.cfg, Version: "test", Registry: prometheus.NewRegistry(), Grace: 5 * time.Second,
		Log: zaptest.NewLogger(w.T, zaptest.Level(zap.WarnLevel)),
	})
	if err != nil {
		w.Fatal(err)
	}
	gw.lateAfter = time.Second
	for _, f := range change {
		f(gw)
	}
	stop := w.launch(gw)
	before := w.stop
	w.gw, w.stop = gw, func() { stop(); before() }
	return gw
}

// waiting is how many schedules are stored.
func (w *world) waiting() (n uint64) {
	w.Helper()
	names := w.gw.names
	s, err := w.js.Stream(w.Context(), names.RetriesStream())
	if err != nil {
		w.Fatal(err)
	}
	info, err := s.Info(w.Context(), jetstream.WithSubjectFilter(names.RetrySubject("*", "*")))
	if err != nil {
		w.Fatal(err)
	}
	for _, count := range info.State.Subjects {
		n += count
	}
	return n
}

// A retry whose schedule fires while the storage is full is never fired again by
// the server, also when there is room again. It is noticed, and set anew: each is
// attempted once more, whoever sets it anew.
func TestRetryThatFiredWhileFull(t *testing.T) {
	t.Parallel()
	for name, gateways := range map[string]int{"one gateway": 1, "three gateways": 3} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			const events = 40
			w := newWorld(t)
			w.serve(natstest.Options{Listen: true, Adjust: func(o *server.Options) { o.JetStreamMaxStore = 8 << 20 }})
			w.endpoints(endpointFor(t, w.hook, "a", retryIn(4*time.Second)))
			w.hook.set(failFirst)
			for range gateways {
				w.startHurried()
			}
			w.publishMany("events.x", events)
			w.waitFor("all retries are scheduled", func() bool { return w.waiting() == events })
			scheduled := time.Now()

			ballast, err := w.js.CreateStream(t.Context(), jetstream.StreamConfig{Name: "BALLAST", Subjects: []string{"ballast"}})
			if err != nil {
				t.Fatal(err)
			}
			for refused := false; !refused; {
				_, err := w.js.Publish(t.Context(), "ballast", make([]byte, 512<<10))
				_, refused = errors.AsType[*jetstream.APIError](err)
				if err != nil && !refused {
					t.Fatal(err)
				}
			}
			w.waitFor("their time is over", func() bool { return time.Since(scheduled) > 5*time.Second })
			w.waitFor("it is noticed", func() bool { return w.gw.overdue.overdue() > 0 })
			if n := w.waiting(); n != events {
				t.Fatalf("%d retries wait, not %d: the storage was not full", n, events)
			}
			if err := ballast.Purge(t.Context()); err != nil {
				t.Fatal(err)
			}
			w.delivered("a", events)
			w.quiet()
			for _, r := range w.hook.got("a") {
				if r.attempt != "2" {
					t.Errorf("%s was delivered with attempt %s", r.id, r.attempt)
				}
			}
			if n := len(w.hook.all()); n != 2*events {
				t.Errorf("%d requests, not %d", n, 2*events)
			}
			w.waitFor("nothing is overdue", func() bool { return w.gw.overdue.overdue() == 0 })
			w.checkNoOverlap()
		})
	}
}

// While the server fires nothing, the gateway says so.
func TestOverdueIsToldOf(t *testing.T) {
	t.Parallel()
	now := time.Now()
	o := &overdue{health: &health{log: zap.NewNop()}, log: zap.NewNop(), seen: newOverdueSeen(prometheus.NewRegistry())}
	o.init()
	local := time.Now()
	for _, step := range []struct {
		age, later time.Duration
		ready      bool
	}{
		{age: 0, ready: true},
		{age: alarmAfter / 2, later: time.Hour, ready: true},
		{age: time.Hour, later: time.Second, ready: true},
		{age: time.Hour, later: alarmFor},
		{age: alarmAfter, later: time.Hour},
		{age: alarmAfter / 2, ready: true},
		{age: alarmAfter, ready: true},
		{age: 0, later: time.Hour, ready: true},
	} {
		local = local.Add(step.later)
		clear(o.late)
		if step.age > 0 {
			o.late[7] = late{due: now.Add(-step.age)}
			o.late[8] = late{due: now.Add(-step.age / 2)}
		}
		o.tell(now, local)
		if got := o.seen.overdue(); got != step.age {
			t.Errorf("overdue for %v, not %v", got, step.age)
		}
		if err := o.health.err(); (err == nil) != step.ready {
			t.Errorf("overdue for %v: readiness is %v", step.age, err)
		}
	}
}

// startOverdue is a world of one server with a stream of retries, without a gateway.
func startOverdue(t *testing.T) (*overdue, jetstream.JetStream) {
	t.Helper()
	js := natstest.Start(t, natstest.Options{}).JetStream()
	names := wire.NewNames("")
	if _, err := js.CreateStream(t.Context(), topology.RetriesStream(names, 1)); err != nil {
		t.Fatal(err)
	}
	o := &overdue{
		js: js, names: names, clock: &servertime.Clock{}, health: &health{log: zap.NewNop()}, log: zap.NewNop(),
		seen: newOverdueSeen(prometheus.NewRegistry()), after: time.Second,
	}
	o.init()
	return o, js
}

// plan stores a schedule, and returns its sequence.
func (o *overdue) plan(t *testing.T, key string, at time.Time, more nats.Header) uint64 {
	t.Helper()
	h := nats.Header{
		jetstream.ScheduleHeader: {"@at " + at.UTC().Format(time.RFC3339Nano)}, headerScheduleTarget: {o.names.DueSubject("a")},
		nats.MsgIdHdr: {"id-" + key},
	}
	maps.Copy(h, more)
	ack, err := o.js.PublishMsg(t.Context(), &nats.Msg{Subject: o.names.RetrySubject("a", key), Header: h, Data: []byte("body of " + key)})
	if err != nil {
		t.Fatal(err)
	}
	return ack.Sequence
}

// A schedule that fires while another replica, or a slow one, sets it anew gets no
// second life; one that is set anew is what it was, but for its time.
func TestSetAnewIsFenced(t *testing.T) {
	t.Parallel()
	o, _ := startOverdue(t)
	kept := nats.Header{"Fanjet-Attempt": {"3"}, "content-type": {"text/plain"}, "Fanjet-Reason": {"exhausted"}}
	first := o.plan(t, "k", time.Now().Add(time.Hour), kept)
	read, err := o.schedule(t.Context(), 1)
	if err != nil || read.seq != first {
		t.Fatalf("read %+v, %v", read, err)
	}
	at := time.Now().Add(2 * time.Hour)
	second, err := o.setAnew(t.Context(), read, at)
	if err != nil || second <= first {
		t.Fatalf("set anew as %d, %v", second, err)
	}
	if _, err := o.setAnew(t.Context(), read, time.Now()); !errors.Is(err, errFired) {
		t.Errorf("the first one was set anew twice: %v", err)
	}
	again, err := o.schedule(t.Context(), 1)
	if err != nil || again.seq != second || !again.due.Equal(at.Round(0).UTC()) || string(again.message.Data) != "body of k" {
		t.Fatalf("read %+v, %v", again, err)
	}
	for k, v := range kept {
		if got := again.header[k]; len(got) != 1 || got[0] != v[0] {
			t.Errorf("header %s is %q, not %q", k, got, v)
		}
	}
	// It fires; what was read before is not set anew any more.
	if _, err := o.setAnew(t.Context(), again, time.Now()); err != nil {
		t.Fatal(err)
	}
	due := o.waitFired(t, 1)
	if _, err := o.setAnew(t.Context(), again, time.Now()); !errors.Is(err, errFired) {
		t.Errorf("one that has fired was set anew: %v", err)
	}
	if string(due[0].Data) != "body of k" {
		t.Errorf("what became of it is %q", due[0].Data)
	}
}

// waitFired waits until n schedules have fired, and none is left.
func (o *overdue) waitFired(t *testing.T, n int) (due []*jsapi.Message) {
	t.Helper()
	deadline := time.After(30 * time.Second)
	for {
		due = nil
		for from := uint64(1); ; {
			m, err := jsapi.Of(o.js).Next(t.Context(), o.names.RetriesStream(), o.names.DueSubject("*"), from)
			if err != nil {
				break
			}
			due, from = append(due, m), m.Sequence+1
		}
		if _, err := o.schedule(t.Context(), 1); len(due) == n && errors.Is(err, jsapi.ErrNoMessage) {
			return due
		}
		select {
		case <-deadline:
			t.Fatalf("%d have fired, not %d", len(due), n)
		case <-time.After(10 * time.Millisecond):
		}
	}
}

// Schedules that were made while the clock of the server was ahead are planned
// anew when it was set back; others are left alone.
func TestPlannedWrongly(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 11, 30, 10, 0, 0, 0, time.UTC)
	const ahead = 30 * time.Minute
	back := &servertime.Step{At: now.Add(-time.Minute), By: -ahead}
	at := func(d time.Duration) time.Time { return now.Add(d) }
	for name, test := range map[string]struct {
		step                   *servertime.Step
		ours                   bool
		stored, due, attempted time.Time
		want                   time.Time
	}{
		"right":                             {step: back, stored: at(-20 * time.Minute), due: at(10 * time.Minute)},
		"long":                              {step: back, stored: at(-20 * time.Minute), due: at(12 * time.Hour)},
		"ahead":                             {step: back, stored: at(ahead - 5*time.Minute), due: at(ahead), want: now},
		"ahead, its time is still to come":  {step: back, stored: at(ahead - 5*time.Minute), due: at(ahead + time.Minute), want: at(time.Minute)},
		"ahead, nobody saw the step":        {stored: at(ahead - 5*time.Minute), due: at(ahead), want: at(5 * time.Minute)},
		"further ahead than the step":       {step: back, stored: at(2 * ahead), due: at(2*ahead + time.Minute), want: at(time.Minute)},
		"within the tolerance":              {step: back, stored: at(servertime.StepTolerance / 2), due: at(time.Minute)},
		"by a gateway that did not know":    {step: back, stored: at(-time.Minute - time.Second), due: at(ahead + time.Second), want: at(time.Second)},
		"stored after everybody knew":       {step: back, stored: at(-30 * time.Second), due: at(ahead + time.Second)},
		"set forward":                       {step: &servertime.Step{At: back.At, By: ahead}, stored: at(-time.Minute - time.Second), due: at(ahead + time.Second)},
		"made before, stored after":         {step: back, ours: true, stored: at(-10 * time.Second), attempted: at(ahead - time.Minute), due: at(ahead + time.Second), want: at(time.Second)},
		"made elsewhere by a clock ahead":   {step: back, stored: at(-10 * time.Second), attempted: at(ahead - time.Minute), due: at(ahead + time.Second)},
		"fired at once, stored by a leader": {stored: at(time.Minute), due: at(-time.Second)},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			o := &overdue{clock: &servertime.Clock{Ours: test.ours}, step: test.step}
			if got := o.plannedWrongly(&schedule{stored: test.stored, due: test.due, attempted: test.attempted}, now); !got.Equal(test.want) {
				t.Errorf("planned for %v, not %v", got, test.want)
			}
		})
	}
}

// The clock of the server was an hour ahead, and is set back: what was planned
// meanwhile comes after its wait, not an hour later.
func TestClockSetBack(t *testing.T) {
	t.Parallel()
	const events = 20
	w := newWorld(t)
	w.endpoints(endpointFor(t, w.hook, "a", retryIn(30*time.Minute)))
	w.hook.set(failFirst)
	// The real clock is the one that is ahead; what it is taken for is set back.
	// A retry that is planned anew is due by the real one then.
	var wrong wallClock
	gw := w.startHurried(func(gw *Gateway) {
		gw.clock.Shift = func(t time.Time) time.Time { return t.Add(time.Duration(wrong.off.Load())) }
	})
	w.publishMany("events.x", events)
	w.waitFor("all retries are scheduled", func() bool { return w.waiting() == events })
	wrong.set(-time.Hour)
	w.waitFor("it is noticed", func() bool { return gw.clock.Step() != nil })
	w.delivered("a", events)
	w.quiet()
	if n := len(w.hook.all()); n != 2*events {
		t.Errorf("%d requests, not %d", n, 2*events)
	}
	if n := testutil.ToFloat64(gw.overdue.anew); n != events {
		t.Errorf("%v were set anew, not %d", n, events)
	}
}

// All that is stored is read once, and looked at once more when it should be
// gone, also when there are more than are kept in mind; what is foreign does no
// harm.
func TestOverdueReadsEachOnce(t *testing.T) {
	t.Parallel()
	const schedules = 400
	o, js := startOverdue(t)
	o.known.limit = 100
	for i := range schedules {
		o.plan(t, fmt.Sprint(i), time.Now().Add(time.Hour+time.Duration(i)*time.Second), nil)
	}
	if _, err := js.Publish(t.Context(), o.names.RetrySubject("a", "foreign"), []byte("no schedule")); err != nil {
		t.Fatal(err)
	}
	read := func(now time.Time) (reads int) {
		t.Helper()
		b := &budget{reads: 10 * schedules, until: time.Now().Add(time.Hour)}
		if o.known.incomplete(now) {
			o.startAnew()
		}
		if err := errors.Join(o.check(t.Context(), now, b), o.read(t.Context(), now, schedules+1, b)); err != nil {
			t.Fatal(err)
		}
		return 10*schedules - b.reads
	}
	soon := time.Now().Add(time.Minute)
	if n := read(soon); n < schedules || n > schedules+2 { // and the foreign one, and the end
		t.Errorf("%d reads of %d schedules", n, schedules)
	}
	if n := read(soon); n != 0 {
		t.Errorf("%d reads although all were read", n)
	}
	if n := len(o.known.entries); n == 0 || n > o.known.limit {
		t.Errorf("%d are kept in mind, and the limit is %d", n, o.known.limit)
	}
	// They are due, one after the other, and none fires.
	for i := range schedules + 10 {
		read(time.Now().Add(time.Hour + time.Duration(i)*time.Second + 5*time.Second))
	}
	// Whatever was set anew has another sequence.
	if first, err := o.schedule(t.Context(), 1); err != nil || first.seq != schedules+1 || !first.due.IsZero() {
		t.Errorf("some were not set anew: the first one is %+v, %v", first, err)
	}
}

// The line of an ordered endpoint goes on after its wait, also when the clock of
// the server is set back meanwhile: in the gateway that holds the first delivery,
// and in one that takes over.
func TestClockSetBackUnderALine(t *testing.T) {
	t.Parallel()
	for name, takeover := range map[string]bool{"the same gateway": false, "another gateway": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			const events = 3
			w := newWorld(t)
			w.endpoints(endpointFor(t, w.hook, "a", retryIn(8*time.Second), func(e *endpoint.Settings) { e.Ordered = true }))
			w.hook.set(func(r request) int {
				if r.body == `{"n":0}` {
					return failFirst(r)
				}
				return 200
			})
			var wrong wallClock
			shift := func(gw *Gateway) {
				gw.clock.Shift = func(t time.Time) time.Time { return t.Add(time.Duration(wrong.off.Load())) }
			}
			w.startHurried(shift)
			w.publishMany("events.x", events)
			w.waitFor("the first one was attempted", func() bool { return len(w.hook.all()) == 1 })
			w.waitFor("that is stored", func() bool {
				kv, err := w.js.KeyValue(t.Context(), w.gw.names.StateBucket())
				if err != nil {
					return false
				}
				_, err = kv.Get(t.Context(), "head.a")
				return err == nil
			})
			if takeover {
				w.stop()
			}
			wrong.set(-time.Hour)
			if takeover {
				w.stop = func() {}
				w.startHurried(shift)
			}
			got := w.delivered("a", events)
			for i, r := range got {
				if want := fmt.Sprintf(`{"n":%d}`, i); r.body != want {
					t.Errorf("delivery %d is %s, not %s", i, r.body, want)
				}
			}
			if n := len(w.hook.all()); n != events+1 {
				t.Errorf("%d requests, not %d", n, events+1)
			}
		})
	}
}
