package dlq

import (
	"fmt"
	"maps"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"fanjet/internal/natstest"
	"fanjet/internal/wire"
)

// replay replays everything that the filter selects and fails the test unless
// so many letters were.
func (f *fixture) replay(filter Filter, want int) Outcome {
	f.t.Helper()
	out, err := f.Replay(f.t.Context(), filter, ReplayOptions{})
	if err != nil || out.Done != want {
		f.t.Fatalf("Replay() = %+v, %v, want %d done", out, err, want)
	}
	return out
}

// expectOnce fails the test unless the deliveries stream holds one delivery of
// each of n letters, and the queue none.
func (f *fixture) expectOnce(n int) {
	f.t.Helper()
	seen := make(map[string]int)
	for _, m := range f.stored(f.names.DeliveriesStream()) {
		seen[string(m.Data)]++
	}
	for body, times := range seen {
		if times != 1 {
			f.t.Errorf("%s was delivered %d times", body, times)
		}
	}
	if len(seen) != n {
		f.t.Errorf("%d letters were delivered, want %d", len(seen), n)
	}
	if left := f.letters(); left != 0 {
		f.t.Errorf("%d letters are left", left)
	}
}

func TestReplayMakesNewGeneration(t *testing.T) {
	t.Parallel()
	f := newFixture(t, natstest.Options{})
	f.put(spec{
		id:      "msg_abc",
		data:    `{"amount":7}`,
		headers: nats.Header{"Content-Type": {"application/json"}, "X-Tags": {"a", "b"}, "Fanjet-Attempt": {"99"}},
		env:     func(e *wire.Envelope) { e.Source, e.Generation = "EVENTS/7", 2 },
	})
	letter := f.list(Filter{})[0]
	before := time.Now()
	f.replay(Filter{}, 1)
	after := time.Now()

	if n := f.letters(); n != 0 {
		t.Errorf("%d letters are left", n)
	}
	got := f.stored(f.names.DeliveriesStream())
	if len(got) != 1 || got[0].Subject != "fanjet.deliver.billing" || string(got[0].Data) != `{"amount":7}` {
		t.Fatalf("deliveries = %+v", got)
	}
	accepted, err := time.Parse(time.RFC3339Nano, got[0].Header.Get("Fanjet-Accepted"))
	if slack := 5 * time.Second; err != nil || accepted.Before(before.Add(-slack)) || accepted.After(after.Add(slack)) {
		t.Errorf("Fanjet-Accepted = %v, %v, want the time of the replay", accepted, err)
	}
	info, err := streamInfo(t.Context(), f.js, f.names.DeadLettersStream())
	if err != nil {
		t.Fatal(err)
	}
	at := wire.Position{Stream: "FANJET_DLQ", Created: info.Created, Sequence: 1, Stored: letter.DeadLettered}
	delete(got[0].Header, "Fanjet-Accepted")
	want := nats.Header{
		"Content-Type":      {"application/json"},
		"X-Tags":            {"a", "b"},
		"Fanjet-Event-Id":   {"msg_abc"},
		"Fanjet-Key":        {wire.Key(wire.KindLetter, at, "billing")},
		"Fanjet-Endpoint":   {"billing"},
		"Fanjet-Subject":    {"events.orders.42.paid"},
		"Fanjet-Source":     {"EVENTS/7"},
		"Fanjet-Attempt":    {"1"},
		"Fanjet-Generation": {"3"},
		"Nats-Msg-Id":       {at.HopID()},
	}
	if !reflect.DeepEqual(got[0].Header, want) {
		t.Errorf("headers = %v\nwant      %v", got[0].Header, want)
	}
}

// TestReplayStripsStoredHeaders has letters, as another hand might have stored
// them, with headers that steer JetStream. One that travelled would get its
// whole batch refused.
func TestReplayStripsStoredHeaders(t *testing.T) {
	t.Parallel()
	f := newFixture(t, natstest.Options{})
	for i := range 3 {
		m := spec{data: fmt.Sprint(i)}.message(f.names)
		m.Header.Set("Nats-Expected-Stream", f.names.DeadLettersStream())
		m.Header.Set("fanjet-attempt", "99")
		if _, err := f.js.PublishMsg(t.Context(), m); err != nil {
			t.Fatal(err)
		}
	}
	f.replay(Filter{}, 3)
	f.expectOnce(3)
	for _, m := range f.stored(f.names.DeliveriesStream()) {
		for key := range m.Header {
			if key == "Nats-Expected-Stream" || key == "fanjet-attempt" {
				t.Errorf("the header %s travelled", key)
			}
		}
	}
}

func TestReplayFilters(t *testing.T) {
	t.Parallel()
	f := newFixture(t, natstest.Options{})
	f.put(spec{data: "1"}, spec{data: "2", reason: ReasonExpired}, spec{data: "3", endpoint: "crm", reason: ReasonExpired})
	f.replay(Filter{Endpoint: "billing", Reason: ReasonExpired}, 1)
	if got := f.list(Filter{}); len(got) != 2 || got[0].Seq != 1 || got[1].Seq != 3 {
		t.Errorf("left %+v, want the letters 1 and 3", got)
	}
	if got := f.stored(f.names.DeliveriesStream()); len(got) != 1 || string(got[0].Data) != "2" {
		t.Errorf("delivered %+v, want the letter 2", got)
	}
}

func TestReplayDryRun(t *testing.T) {
	t.Parallel()
	f := newFixture(t, natstest.Options{})
	f.put(spec{}, spec{reason: ReasonTooLarge}, spec{endpoint: "crm"})
	out, err := f.Replay(t.Context(), Filter{}, ReplayOptions{DryRun: true})
	if err != nil || out.Done != 2 || out.Failed != 1 {
		t.Errorf("Replay() = %+v, %v, want 2 done and 1 failed: its event is gone", out, err)
	}
	if f.letters() != 3 || f.deliveries() != 0 {
		t.Errorf("a dry run left %d letters and %d deliveries", f.letters(), f.deliveries())
	}
}

// TestReplayAgainWithinSeconds replays an event that fails again at once, twice
// over. A Nats-Msg-Id made from the event would have the second letter, or the
// second replay, vanish as a duplicate.
func TestReplayAgainWithinSeconds(t *testing.T) {
	t.Parallel()
	f := newFixture(t, natstest.Options{})
	same := spec{id: "msg_same", env: func(e *wire.Envelope) { e.Source, e.Key = "EVENTS/7", "same" }}
	keys := make(map[string]bool)
	for life := 1; life <= 3; life++ {
		f.put(same)
		f.replay(Filter{}, 1)
		got := f.stored(f.names.DeliveriesStream())
		if len(got) != life {
			t.Fatalf("life %d: %d deliveries", life, len(got))
		}
		keys[got[life-1].Header.Get(wire.HeaderKey)] = true
	}
	if len(keys) != 3 {
		t.Errorf("the deliveries have the keys %v, want 3", keys)
	}
}

func TestReplayWithoutDeliveriesStream(t *testing.T) {
	t.Parallel()
	f := newFixture(t, natstest.Options{})
	f.put(spec{})
	if err := f.js.DeleteStream(t.Context(), f.names.DeliveriesStream()); err != nil {
		t.Fatal(err)
	}
	_, err := f.Replay(t.Context(), Filter{}, ReplayOptions{})
	if err == nil || !strings.Contains(err.Error(), "FANJET_DELIVERIES does not exist") {
		t.Errorf("Replay() = %v", err)
	}
}

// TestReplayIntoFullStream stops at once, instead of failing letter by letter.
func TestReplayIntoFullStream(t *testing.T) {
	t.Parallel()
	f := newFixture(t, natstest.Options{})
	f.putMany(1000)
	cfg := streamConfigs(f.names)[1]
	cfg.MaxMsgs = 100
	if _, err := f.js.UpdateStream(t.Context(), cfg); err != nil {
		t.Fatal(err)
	}
	out, err := f.Replay(t.Context(), Filter{}, ReplayOptions{InFlight: 50})
	if err == nil || !strings.Contains(err.Error(), "no room") {
		t.Errorf("Replay() = %+v, %v, want it to stop", out, err)
	}
	if out.Done != f.deliveries() || out.Done+f.letters() != 1000 || out.Failed > 200 {
		t.Errorf("%d done and %d failed; %d deliveries and %d letters", out.Done, out.Failed, f.deliveries(), f.letters())
	}
}

func TestReplayByReference(t *testing.T) {
	t.Parallel()
	const maxPayload = 4096
	f := newFixture(t, natstest.Options{MaxPayload: maxPayload})
	event := func(n int) (wire.Position, nats.Header, []byte) {
		t.Helper()
		m := nats.NewMsg("events.orders.42.paid")
		m.Header.Set("X-Team", "payments")
		m.Header.Set("Nats-Sequence", "1")                              // must not be taken for the server's
		m.Data = []byte(strings.Repeat("x", n-m.Size()+len(m.Subject))) // n counts headers and body
		ack, err := f.js.PublishMsg(t.Context(), m)
		if err != nil {
			t.Fatal(err)
		}
		info, err := streamInfo(t.Context(), f.js, "EVENTS")
		if err != nil {
			t.Fatal(err)
		}
		stored, err := f.Queue.stored(t.Context(), "EVENTS", ack.Sequence)
		if err != nil {
			t.Fatal(err)
		}
		return wire.Position{Stream: "EVENTS", Created: info.Created, Sequence: ack.Sequence, Stored: stored.Time}, m.Header, m.Data
	}
	letter := func(at wire.Position, change func(*wire.Envelope)) spec {
		return spec{reason: ReasonTooLarge, env: func(e *wire.Envelope) {
			e.Source, e.Key = at.Source(), wire.Key(wire.KindEvent, at, "billing")
			if change != nil {
				change(e)
			}
		}}
	}
	fits, header, body := event(1000)
	tooLarge, _, _ := event(maxPayload)
	again, _, _ := event(1001)
	dropped, _, _ := event(1002)
	source, err := f.js.Stream(t.Context(), "EVENTS")
	if err != nil {
		t.Fatal(err)
	}
	if err := source.DeleteMsg(t.Context(), dropped.Sequence); err != nil {
		t.Fatal(err)
	}
	other := again
	other.Created = other.Created.Add(-time.Hour) // the stream was created again since
	f.put(
		letter(fits, nil),
		letter(tooLarge, nil),
		letter(again, func(e *wire.Envelope) {
			e.Key, e.Generation, e.EventID = "of-a-letter", 1, wire.EventID(header, nil, again, false)
		}),
		letter(dropped, nil),
		letter(other, nil),
		letter(fits, func(e *wire.Envelope) { e.Source = "NOWHERE/1" }),
		letter(fits, func(e *wire.Envelope) { e.Source = "EVENTS" }),
		spec{},
	)
	for _, l := range f.list(Filter{Reason: ReasonTooLarge}) {
		if !l.ByReference || l.Size != 0 || len(l.Headers) != 0 {
			t.Errorf("the letter %d is not by reference: %+v", l.Seq, l)
		}
	}

	out := f.replay(Filter{}, 3)
	want := map[uint64]string{
		2: "raise max_payload",
		4: "no longer in its stream: EVENTS/4",
		5: "the stream was created again",
		6: "there is no such stream",
		7: "is not STREAM/sequence",
	}
	if out.Failed != len(want) {
		t.Errorf("%d failed, want %d", out.Failed, len(want))
	}
	for _, failure := range out.Failures {
		if text := want[failure.Seq]; text == "" || !strings.Contains(failure.Err.Error(), text) {
			t.Errorf("the letter %d failed: %v; want %q", failure.Seq, failure.Err, text)
		}
		delete(want, failure.Seq)
	}
	if n := f.letters(); n != out.Failed {
		t.Errorf("%d letters are left, want the %d that failed", n, out.Failed)
	}
	delivered := f.stored(f.names.DeliveriesStream())
	if len(delivered) != 3 {
		t.Fatalf("%d deliveries, want 3", len(delivered))
	}
	first := delivered[0]
	if string(first.Data) != string(body) || first.Header.Get("X-Team") != "payments" || first.Header["Nats-Sequence"] != nil {
		t.Errorf("the delivery has the headers %v and %d bytes", maps.Clone(first.Header), len(first.Data))
	}
}
