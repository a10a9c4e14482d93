package overdue

import (
	"errors"
	"fmt"
	"maps"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/goleak"
	"go.uber.org/zap"

	"fanjet/gateway/topology"
	"fanjet/internal/jsapi"
	"fanjet/internal/natstest"
	"fanjet/internal/servertime"
	"fanjet/internal/wire"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m, natstest.Leaks()...) }

// While the server fires nothing, the gateway says so.
func TestOverdueIsToldOf(t *testing.T) {
	t.Parallel()
	now := time.Now()
	var unready error
	w := New(Options{
		Metrics: NewMetrics(prometheus.NewRegistry()), Report: func(err error) { unready = err }, Log: zap.NewNop(),
	})
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
		clear(w.late)
		if step.age > 0 {
			w.late[7] = late{due: now.Add(-step.age)}
			w.late[8] = late{due: now.Add(-step.age / 2)}
		}
		w.tell(now, local)
		if got := w.opts.Metrics.Longest(); got != step.age {
			t.Errorf("overdue for %v, not %v", got, step.age)
		}
		if (unready == nil) != step.ready {
			t.Errorf("overdue for %v: readiness is %v", step.age, unready)
		}
	}
}

// startWatch is a world of one server with a stream of retries, without a gateway.
func startWatch(t *testing.T) (*Watch, jetstream.JetStream) {
	t.Helper()
	js := natstest.Start(t, natstest.Options{}).JetStream()
	return newWatch(t, js), js
}

// newWatch returns a watch that is in a hurry, over a stream of retries that it makes.
func newWatch(t testing.TB, js jetstream.JetStream) *Watch {
	t.Helper()
	names := wire.NewNames("")
	if _, err := js.CreateStream(t.Context(), topology.RetriesStream(names, 1)); err != nil {
		t.Fatal(err)
	}
	return New(Options{
		JetStream: js, Names: names, Clock: &servertime.Clock{}, Metrics: NewMetrics(prometheus.NewRegistry()), Log: zap.NewNop(),
		Report: func(error) {}, StoreFails: func() bool { return false }, After: time.Second,
	})
}

// plan stores a schedule, and returns its sequence.
func (w *Watch) plan(t *testing.T, key string, at time.Time, more nats.Header) uint64 {
	t.Helper()
	h := nats.Header{
		jetstream.ScheduleHeader: {"@at " + at.UTC().Format(time.RFC3339Nano)}, wire.HeaderScheduleTarget: {w.names.DueSubject("a")},
		nats.MsgIdHdr: {"id-" + key},
	}
	maps.Copy(h, more)
	ack, err := w.opts.JetStream.PublishMsg(t.Context(), &nats.Msg{Subject: w.names.RetrySubject("a", key), Header: h, Data: []byte("body of " + key)})
	if err != nil {
		t.Fatal(err)
	}
	return ack.Sequence
}

// A schedule that fires while another replica, or a slow one, sets it anew gets no
// second life; one that is set anew is what it was, but for its time.
func TestSetAnewIsFenced(t *testing.T) {
	t.Parallel()
	w, _ := startWatch(t)
	kept := nats.Header{"Fanjet-Attempt": {"3"}, "content-type": {"text/plain"}, "Fanjet-Reason": {"exhausted"}}
	first := w.plan(t, "k", time.Now().Add(time.Hour), kept)
	read, err := w.schedule(t.Context(), 1)
	if err != nil || read.seq != first {
		t.Fatalf("read %+v, %v", read, err)
	}
	at := time.Now().Add(2 * time.Hour)
	second, err := w.setAnew(t.Context(), read, at)
	if err != nil || second <= first {
		t.Fatalf("set anew as %d, %v", second, err)
	}
	if _, err := w.setAnew(t.Context(), read, time.Now()); !errors.Is(err, errFired) {
		t.Errorf("the first one was set anew twice: %v", err)
	}
	again, err := w.schedule(t.Context(), 1)
	if err != nil || again.seq != second || !again.due.Equal(at.Round(0).UTC()) || string(again.message.Data) != "body of k" {
		t.Fatalf("read %+v, %v", again, err)
	}
	for k, v := range kept {
		if got := again.header[k]; len(got) != 1 || got[0] != v[0] {
			t.Errorf("header %s is %q, not %q", k, got, v)
		}
	}
	// It fires; what was read before is not set anew any more.
	if _, err := w.setAnew(t.Context(), again, time.Now()); err != nil {
		t.Fatal(err)
	}
	due := w.waitFired(t, 1)
	if _, err := w.setAnew(t.Context(), again, time.Now()); !errors.Is(err, errFired) {
		t.Errorf("one that has fired was set anew: %v", err)
	}
	if string(due[0].Data) != "body of k" {
		t.Errorf("what became of it is %q", due[0].Data)
	}
}

// waitFired waits until n schedules have fired, and none is left.
func (w *Watch) waitFired(t *testing.T, n int) (due []*jsapi.Message) {
	t.Helper()
	deadline := time.After(30 * time.Second)
	for {
		due = nil
		for from := uint64(1); ; {
			m, err := jsapi.Of(w.opts.JetStream).Next(t.Context(), w.names.RetriesStream(), w.names.DueSubject("*"), from)
			if err != nil {
				break
			}
			due, from = append(due, m), m.Sequence+1
		}
		if _, err := w.schedule(t.Context(), 1); len(due) == n && errors.Is(err, jsapi.ErrNoMessage) {
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
			w := &Watch{opts: Options{Clock: &servertime.Clock{Ours: test.ours}}, step: test.step}
			if got := w.plannedWrongly(&schedule{stored: test.stored, due: test.due, attempted: test.attempted}, now); !got.Equal(test.want) {
				t.Errorf("planned for %v, not %v", got, test.want)
			}
		})
	}
}

// All that is stored is read once, and looked at once more when it should be
// gone, also when there are more than are kept in mind; what is foreign does no
// harm.
func TestOverdueReadsEachOnce(t *testing.T) {
	t.Parallel()
	const schedules = 400
	w, js := startWatch(t)
	w.known.limit = 100
	for i := range schedules {
		w.plan(t, fmt.Sprint(i), time.Now().Add(time.Hour+time.Duration(i)*time.Second), nil)
	}
	if _, err := js.Publish(t.Context(), w.names.RetrySubject("a", "foreign"), []byte("no schedule")); err != nil {
		t.Fatal(err)
	}
	read := func(now time.Time) (reads int) {
		t.Helper()
		b := &budget{reads: 10 * schedules, until: time.Now().Add(time.Hour)}
		if w.known.incomplete(now) {
			w.startAnew()
		}
		if err := errors.Join(w.check(t.Context(), now, b), w.read(t.Context(), now, schedules+1, b)); err != nil {
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
	if n := len(w.known.entries); n == 0 || n > w.known.limit {
		t.Errorf("%d are kept in mind, and the limit is %d", n, w.known.limit)
	}
	// They are due, one after the other, and none fires.
	for i := range schedules + 10 {
		read(time.Now().Add(time.Hour + time.Duration(i)*time.Second + 5*time.Second))
	}
	// Whatever was set anew has another sequence.
	if first, err := w.schedule(t.Context(), 1); err != nil || first.seq != schedules+1 || !first.due.IsZero() {
		t.Errorf("some were not set anew: the first one is %+v, %v", first, err)
	}
}
