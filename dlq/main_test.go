package dlq

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"strconv"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"go.uber.org/goleak"

	"fanjet/internal/jsapi"
	"fanjet/internal/natstest"
	"fanjet/internal/publish"
	"fanjet/internal/wire"
)

func TestMain(m *testing.M) {
	if url := os.Getenv(childURL); url != "" {
		os.Exit(replayAndHang(url))
	}
	goleak.VerifyTestMain(m, natstest.Leaks()...)
}

// fixture is a NATS server with the streams that the queue touches.
type fixture struct {
	*Queue
	srv *natstest.Server
	t   testing.TB
}

// streamConfigs are the streams that the gateway creates, as far as dead
// letters go, and a source.
func streamConfigs(names wire.Names) []jetstream.StreamConfig {
	ours := jetstream.StreamConfig{
		Storage: jetstream.FileStorage, Retention: jetstream.LimitsPolicy, Discard: jetstream.DiscardNew,
		Duplicates: 10 * time.Minute, AllowDirect: true, AllowAtomicPublish: true,
	}
	letters, deliveries, source := ours, ours, ours
	letters.Name, letters.Subjects = names.DeadLettersStream(), []string{names.DeadLetterSubject("*")}
	deliveries.Name, deliveries.Subjects = names.DeliveriesStream(), []string{names.DeliverSubject("*")}
	source.Name, source.Subjects = "EVENTS", []string{"events.>"}
	return []jetstream.StreamConfig{letters, deliveries, source}
}

func newFixture(t testing.TB, o natstest.Options) *fixture {
	t.Helper()
	srv := natstest.Start(t, o)
	names := wire.NewNames("")
	js := srv.JetStream()
	for _, cfg := range streamConfigs(names) {
		if _, err := js.CreateStream(t.Context(), cfg); err != nil {
			t.Fatalf("create %s: %v", cfg.Name, err)
		}
	}
	q, err := Open(t.Context(), js, names)
	if err != nil {
		t.Fatal(err)
	}
	return &fixture{Queue: q, srv: srv, t: t}
}

// spec says what is special about a letter.
type spec struct {
	endpoint string
	reason   Reason
	subject  string
	id       string
	headers  nats.Header
	data     string
	env      func(*wire.Envelope)
}

var hops atomic.Uint64

// message makes the dead letter of a delivery that failed its tenth attempt.
func (s spec) message(names wire.Names) *nats.Msg {
	n := hops.Add(1)
	env := wire.Envelope{
		EventID:      cmp.Or(s.id, fmt.Sprintf("msg_%026d", n)),
		Key:          fmt.Sprintf("%026d", n),
		Endpoint:     cmp.Or(s.endpoint, "billing"),
		Subject:      cmp.Or(s.subject, "events.orders.42.paid"),
		Source:       "EVENTS/" + strconv.FormatUint(n, 10),
		Accepted:     time.Date(2026, 3, 1, 12, 0, 0, 123456789, time.UTC),
		Attempt:      11,
		FirstAttempt: time.Date(2026, 3, 1, 12, 0, 1, 0, time.UTC),
		LastAttempt:  time.Date(2026, 3, 2, 12, 0, 2, 0, time.UTC),
		LastStatus:   503,
		LastError:    "503 Service Unavailable",
	}
	if s.env != nil {
		s.env(&env)
	}
	return NewMessage(names, env, cmp.Or(s.reason, ReasonExhausted), 10, s.headers, []byte(cmp.Or(s.data, `{"amount":1}`)), fmt.Sprintf("FANJET_RETRIES/%d/1", n))
}

// put stores letters, in order.
func (f *fixture) put(specs ...spec) {
	f.t.Helper()
	p := publish.New(publish.Options{Conn: f.srv.Conn(), Stream: f.names.DeadLettersStream()})
	defer p.Close()
	done := make(results, len(specs))
	for _, s := range specs {
		if err := p.Enqueue(f.t.Context(), s.message(f.names), done); err != nil {
			f.t.Fatal(err)
		}
	}
	for range specs {
		if err := <-done; err != nil {
			f.t.Fatal(err)
		}
	}
}

type results chan error

func (r results) Published(err error) { r <- err }

// putMany stores n letters of a few endpoints.
func (f *fixture) putMany(n int) {
	f.t.Helper()
	specs := make([]spec, n)
	for i := range specs {
		specs[i] = spec{endpoint: fmt.Sprintf("endpoint-%d", i%7), data: fmt.Sprintf(`{"n":%d}`, i)}
	}
	f.put(specs...)
}

// list collects what the filter selects.
func (f *fixture) list(filter Filter) []Letter {
	f.t.Helper()
	var letters []Letter
	for l, err := range f.List(f.t.Context(), filter) {
		if err != nil {
			f.t.Fatal(err)
		}
		l.read = time.Time{} // no two readings have the same
		letters = append(letters, l)
	}
	return letters
}

func (f *fixture) count(stream string) int {
	f.t.Helper()
	info, err := streamInfo(f.t.Context(), f.js, stream)
	if err != nil {
		f.t.Fatal(err)
	}
	return int(info.State.Msgs)
}

func (f *fixture) letters() int    { f.t.Helper(); return f.count(f.names.DeadLettersStream()) }
func (f *fixture) deliveries() int { f.t.Helper(); return f.count(f.names.DeliveriesStream()) }

func streamInfo(ctx context.Context, js jetstream.JetStream, name string) (*jetstream.StreamInfo, error) {
	s, err := js.Stream(ctx, name)
	if err != nil {
		return nil, err
	}
	return s.Info(ctx)
}

// message is one that a stream holds.
type message struct {
	*jsapi.Message
	Header nats.Header
}

// stored reads everything that a stream holds.
func (f *fixture) stored(stream string) []message {
	f.t.Helper()
	s, err := f.js.Stream(f.t.Context(), stream)
	if err != nil {
		f.t.Fatal(err)
	}
	state := s.CachedInfo().State
	var all []message
	for seq := state.FirstSeq; state.Msgs > 0 && seq <= state.LastSeq; seq++ {
		m, err := f.Queue.stored(f.t.Context(), stream, seq)
		if errors.Is(err, ErrSourceGone) {
			continue // a test removed it
		}
		if err != nil {
			f.t.Fatal(err)
		}
		header, err := m.Header()
		if err != nil {
			f.t.Fatal(err)
		}
		all = append(all, message{m, header})
	}
	return all
}
