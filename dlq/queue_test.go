package dlq

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"fanjet/internal/natstest"
	"fanjet/internal/wire"
)

func TestOpenWithoutStream(t *testing.T) {
	t.Parallel()
	srv := natstest.Start(t, natstest.Options{})
	_, err := Open(t.Context(), srv.JetStream(), wire.NewNames("acme"))
	if !errors.Is(err, ErrNoStream) || !strings.Contains(err.Error(), "ACME_DLQ") {
		t.Errorf("Open() = %v, want ErrNoStream that names ACME_DLQ", err)
	}
}

func TestListFilters(t *testing.T) {
	t.Parallel()
	f := newFixture(t, natstest.Options{})
	f.put(
		spec{endpoint: "billing", id: "msg_1", subject: "events.orders.1.paid"},
		spec{endpoint: "billing", id: "msg_2", subject: "events.orders.2.paid", reason: ReasonExpired},
		spec{endpoint: "crm", id: "msg_1", subject: "events.orders.1.paid", reason: ReasonRejected},
		spec{endpoint: "crm", id: "msg_3", subject: "events.push", reason: ReasonExpired},
		spec{endpoint: "billing-2", id: "msg_4", subject: "events.orders.4.refunded"},
	)
	all := f.list(Filter{})
	if len(all) != 5 {
		t.Fatalf("listed %d letters, want 5", len(all))
	}
	at := func(i int) Filter { return Filter{Since: all[i].DeadLettered} }
	tests := []struct {
		name   string
		filter Filter
		want   []uint64
	}{
		{"all", Filter{}, []uint64{1, 2, 3, 4, 5}},
		{"endpoint", Filter{Endpoint: "billing"}, []uint64{1, 2}},
		{"endpoint without letters", Filter{Endpoint: "nobody"}, nil},
		{"reason", Filter{Reason: ReasonExpired}, []uint64{2, 4}},
		{"subject", Filter{Subject: "events.orders.*.paid"}, []uint64{1, 2, 3}},
		{"subject tail", Filter{Subject: "events.orders.>"}, []uint64{1, 2, 3, 5}},
		{"id", Filter{ID: "msg_1"}, []uint64{1, 3}},
		{"limit", Filter{Limit: 2}, []uint64{1, 2}},
		{"limit counts what matches", Filter{Limit: 2, Reason: ReasonExpired}, []uint64{2, 4}},
		{"since includes its moment", at(2), []uint64{3, 4, 5}},
		{"until excludes its moment", Filter{Until: all[2].DeadLettered}, []uint64{1, 2}},
		{"between", Filter{Since: all[1].DeadLettered, Until: all[3].DeadLettered}, []uint64{2, 3}},
		{"since of one endpoint", Filter{Endpoint: "billing", Since: all[1].DeadLettered}, []uint64{2}},
		{"up to a sequence", Filter{Last: 3}, []uint64{1, 2, 3}},
		{"endpoint up to a sequence", Filter{Endpoint: "crm", Last: 3}, []uint64{3}},
		{"up to a sequence that is to come", Filter{Last: 99}, []uint64{1, 2, 3, 4, 5}},
		{"after the last", Filter{Since: all[4].DeadLettered.Add(1)}, nil},
		{"everything at once", Filter{Endpoint: "crm", Reason: ReasonExpired, Subject: "events.*", ID: "msg_3", Since: all[0].DeadLettered, Limit: 9}, []uint64{4}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			f := fixture{Queue: f.Queue, srv: f.srv, t: t}
			var got []uint64
			for _, l := range f.list(tt.filter) {
				got = append(got, l.Seq)
			}
			if !slices.Equal(got, tt.want) {
				t.Errorf("listed %v, want %v", got, tt.want)
			}
			if n, err := f.Count(t.Context(), tt.filter); err != nil || n != len(tt.want) {
				t.Errorf("Count() = %d, %v, want %d", n, err, len(tt.want))
			}
		})
	}
	if _, err := f.Count(t.Context(), Filter{Limit: -1}); err == nil {
		t.Error("Count() took a filter that is not valid")
	}
}

func TestFreeze(t *testing.T) {
	t.Parallel()
	f := newFixture(t, natstest.Options{})
	f.putMany(10)
	for _, filter := range []Filter{{}, {Endpoint: "endpoint-1"}, {Reason: ReasonExhausted}} {
		want := make(Counts)
		for _, l := range f.list(filter) {
			want[l.Endpoint]++
		}
		counts, err := f.Freeze(t.Context(), &filter)
		if err != nil || !maps.Equal(counts, want) || len(want) == 0 {
			t.Fatalf("Freeze() = %v, %v, want %v", counts, err, want)
		}
		n := counts.Total()
		f.put(spec{endpoint: "endpoint-1"})
		again, err := f.Freeze(t.Context(), &filter)
		if err != nil || again.Total() != n || len(f.list(filter)) != n {
			t.Errorf("Freeze() of a frozen filter = %v, %v, want still %d", again, err, n)
		}
	}
}

func TestListEmpty(t *testing.T) {
	t.Parallel()
	f := newFixture(t, natstest.Options{})
	if got := f.list(Filter{}); got != nil {
		t.Errorf("listed %v from an empty queue", got)
	}
	if stats, err := f.Stats(t.Context(), Filter{}); err != nil || len(stats) != 0 {
		t.Errorf("Stats() = %v, %v from an empty queue", stats, err)
	}
	if _, err := f.Get(t.Context(), 1); !errors.Is(err, ErrNotFound) {
		t.Errorf("Get(1) = %v, want ErrNotFound", err)
	}
	out, err := f.Replay(t.Context(), Filter{}, ReplayOptions{})
	if err != nil || out.Done+out.Skipped+out.Failed != 0 {
		t.Errorf("Replay() = %+v, %v", out, err)
	}
	out, err = f.Purge(t.Context(), Filter{}, PurgeOptions{})
	if err != nil || out.Done != 0 {
		t.Errorf("Purge() = %+v, %v", out, err)
	}

	// Emptied is not the same as never used: sequences do not start at 1.
	f.put(spec{}, spec{})
	if _, err := f.Purge(t.Context(), Filter{}, PurgeOptions{}); err != nil {
		t.Fatal(err)
	}
	if got := f.list(Filter{}); got != nil {
		t.Errorf("listed %v from an emptied queue", got)
	}
}

func TestListMany(t *testing.T) {
	t.Parallel()
	const n = 10_000
	f := newFixture(t, natstest.Options{})
	f.putMany(n)
	next := 0
	for l, err := range f.List(t.Context(), Filter{}) {
		if err != nil {
			t.Fatal(err)
		}
		if l.Seq != uint64(next+1) || l.Endpoint != fmt.Sprintf("endpoint-%d", next%7) || string(l.Data) != fmt.Sprintf(`{"n":%d}`, next) {
			t.Fatalf("letter %d is %d of %s: %s", next+1, l.Seq, l.Endpoint, l.Data)
		}
		next++
	}
	if next != n {
		t.Errorf("listed %d letters, want %d", next, n)
	}
	for i, l := range f.list(Filter{Endpoint: "endpoint-3"}) {
		if l.Seq != uint64(4+7*i) {
			t.Fatalf("letter %d of the endpoint has the sequence %d, want %d", i, l.Seq, 4+7*i)
		}
	}
	if got := len(f.list(Filter{Endpoint: "endpoint-3"})); got != (n+3)/7 {
		t.Errorf("listed %d letters of the endpoint, want %d", got, (n+3)/7)
	}
}

func TestListLeavesOutLaterLetters(t *testing.T) {
	t.Parallel()
	f := newFixture(t, natstest.Options{})
	f.putMany(3)
	n := 0
	for _, err := range f.List(t.Context(), Filter{}) {
		if err != nil {
			t.Fatal(err)
		}
		n++
		f.put(spec{}) // would never end
	}
	if n != 3 {
		t.Errorf("listed %d letters, want the 3 that were there", n)
	}
}

func TestListStopsWithContext(t *testing.T) {
	t.Parallel()
	f := newFixture(t, natstest.Options{})
	f.putMany(3 * pageLetters)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var last error
	n := 0
	for _, err := range f.List(ctx, Filter{}) {
		if last = err; err == nil {
			n++
		}
		cancel()
	}
	if !errors.Is(last, context.Canceled) || n != pageLetters {
		t.Errorf("listed %d letters, then %v; want one page of %d and the context's error", n, last, pageLetters)
	}
}

// TestListSeesThroughHeaders has letters that look like an answer of the
// server: with an empty body, a Status header must not end or hide anything.
func TestListSeesThroughHeaders(t *testing.T) {
	t.Parallel()
	f := newFixture(t, natstest.Options{})
	trap := func(h nats.Header) {
		m := spec{headers: h}.message(f.names)
		m.Data = nil
		if _, err := f.js.PublishMsg(t.Context(), m); err != nil {
			t.Fatal(err)
		}
	}
	for _, status := range []string{"100", "204", "404", "408", "503"} {
		trap(nats.Header{"Status": {status}, "Description": {"EOB"}})
	}
	// Somebody else's message on our subject, with headers of the server.
	foreign := &nats.Msg{Subject: f.names.DeadLetterSubject("crm"), Header: nats.Header{
		"Nats-Sequence": {"1"}, "Nats-Subject": {"fanjet.dlq.billing"}, "Nats-Time-Stamp": {"yesterday"}, "Nats-Stream": {"OTHER"},
	}}
	if _, err := f.js.PublishMsg(t.Context(), foreign); err != nil {
		t.Fatal(err)
	}
	f.put(spec{})

	letters := f.list(Filter{})
	if len(letters) != 7 {
		t.Fatalf("listed %d letters, want 7", len(letters))
	}
	for i, l := range letters {
		if l.Seq != uint64(i+1) {
			t.Errorf("letter %d has the sequence %d", i+1, l.Seq)
		}
		if isForeign := i == 5; isForeign != (l.Problem != "") {
			t.Errorf("letter %d has the problem %q", l.Seq, l.Problem)
		}
	}
	if l := letters[5]; l.Endpoint != "crm" || !strings.Contains(l.Problem, "Fanjet-Event-Id is missing") {
		t.Errorf("the foreign message reads as %+v", l)
	}
	if got, err := f.Get(t.Context(), 3); err != nil || got.Headers.Get("Status") != "404" || got.Data == nil {
		t.Errorf("Get(3) = %+v, %v", got, err)
	}

	// The foreign message stays where it is; the others are replayed.
	out, err := f.Replay(t.Context(), Filter{}, ReplayOptions{})
	if err != nil || out.Done != 6 || out.Failed != 1 || out.Failures[0].Seq != 6 {
		t.Errorf("Replay() = %+v, %v", out, err)
	}
}

func TestOpenWithoutDirectReads(t *testing.T) {
	t.Parallel()
	f := newFixture(t, natstest.Options{})
	cfg := streamConfigs(f.names)[0]
	cfg.AllowDirect = false
	if _, err := f.js.UpdateStream(t.Context(), cfg); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(t.Context(), f.js, f.names); !errors.Is(err, errNoDirectReads) {
		t.Errorf("Open() = %v, want errNoDirectReads", err)
	}
}

func TestListAfterStreamIsDeleted(t *testing.T) {
	t.Parallel()
	f := newFixture(t, natstest.Options{})
	f.patience = 0
	f.putMany(3 * pageLetters)
	var last error
	for _, err := range f.List(t.Context(), Filter{}) {
		if last = err; err == nil {
			_ = f.js.DeleteStream(t.Context(), f.names.DeadLettersStream()) // only the first one finds it
		}
	}
	if !errors.Is(last, errNoDirectReads) {
		t.Errorf("List() ended with %v, want errNoDirectReads", last)
	}
}

// TestListRefusesMirror has a mirror, which answers some of the reads. It must
// never be believed: it keeps the letters that were replayed.
func TestListRefusesMirror(t *testing.T) {
	t.Parallel()
	f := newFixture(t, natstest.Options{})
	f.putMany(4)
	_, err := f.js.CreateStream(t.Context(), jetstream.StreamConfig{
		Name:   "BACKUP",
		Mirror: &jetstream.StreamSource{Name: f.names.DeadLettersStream()},
	})
	if err != nil {
		t.Fatal(err)
	}
	await(t, func() bool { return f.count("BACKUP") == 4 })
	if _, err := f.Purge(t.Context(), Filter{Endpoint: "endpoint-0"}, PurgeOptions{}); err != nil {
		t.Fatal(err)
	}
	await(t, func() bool {
		n := 0
		for l, err := range f.List(t.Context(), Filter{}) {
			if err != nil {
				return errors.Is(err, errMirror)
			}
			if n++; l.Seq == 1 {
				t.Fatal("listed the letter that was purged")
			}
		}
		return false
	})
}

func TestGet(t *testing.T) {
	t.Parallel()
	f := newFixture(t, natstest.Options{})
	f.putMany(3)
	if err := f.stream.DeleteMsg(t.Context(), 2); err != nil {
		t.Fatal(err)
	}
	for seq, want := range map[uint64]error{0: ErrNotFound, 1: nil, 2: ErrNotFound, 3: nil, 4: ErrNotFound} {
		l, err := f.Get(t.Context(), seq)
		if !errors.Is(err, want) {
			t.Errorf("Get(%d) = %v, want %v", seq, err, want)
		}
		if err == nil && l.Seq != seq {
			t.Errorf("Get(%d) returned the letter %d", seq, l.Seq)
		}
	}
}

// Nothing reads, moves or adds to what only a newer program understands, be it the
// letters or the deliveries that they would become.
func TestNewerVersionIsRefused(t *testing.T) {
	t.Parallel()
	f := newFixture(t, natstest.Options{})
	mark := func(stream string, version int) {
		t.Helper()
		s, err := f.js.Stream(t.Context(), stream)
		if err != nil {
			t.Fatal(err)
		}
		c := s.CachedInfo().Config
		c.Metadata = wire.StoredMetadata(version)
		if _, err := f.js.UpdateStream(t.Context(), c); err != nil {
			t.Fatal(err)
		}
	}
	mark("FANJET_DELIVERIES", 2)
	for _, dry := range []bool{true, false} {
		if _, err := f.Replay(t.Context(), Filter{}, ReplayOptions{DryRun: dry}); !isNewer(err, "FANJET_DELIVERIES") {
			t.Errorf("dry %v: Replay() = %v", dry, err)
		}
	}
	mark("FANJET_DLQ", 2)
	if _, err := Open(t.Context(), f.js, f.names); !isNewer(err, "FANJET_DLQ") {
		t.Errorf("Open() = %v", err)
	}
	mark("FANJET_DLQ", 1)
	if _, err := Open(t.Context(), f.js, f.names); err != nil {
		t.Error(err)
	}
}

func isNewer(err error, stream string) bool {
	newer, ok := errors.AsType[*wire.NewerError](err)
	return ok && len(newer.Streams) == 1 && newer.Streams[0] == stream
}
