package control

import (
	"fmt"
	"maps"
	"slices"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"fanjet/internal/jsapi"
	"fanjet/internal/natstest"
	"fanjet/internal/wire"
)

// fill creates the streams and puts messages on subjects.
func fill(t *testing.T, srv *natstest.Server, subjects map[string]int) {
	t.Helper()
	for name, captures := range map[string][]string{
		names.LanesStream():       {names.LaneSubject("*")},
		names.RetriesStream():     {names.RetrySubject("*", "*"), names.DueSubject("*")},
		names.DeadLettersStream(): {names.DeadLetterSubject("*")},
	} {
		if _, err := srv.JetStream().CreateStream(t.Context(), jetstream.StreamConfig{Name: name, Subjects: captures}); err != nil {
			t.Fatal(err)
		}
	}
	for subject, n := range subjects {
		publish(t, srv, subject, n)
	}
}

// publish puts n messages on a subject, of events that were accepted a minute
// after each other.
func publish(t *testing.T, srv *natstest.Server, subject string, n int) {
	t.Helper()
	for i := range n {
		accepted := time.Date(2026, 3, 1, 12, i, 0, 0, time.UTC)
		header := nats.Header{wire.HeaderAccepted: {accepted.Format(time.RFC3339Nano)}}
		if _, err := srv.JetStream().PublishMsg(t.Context(), &nats.Msg{Subject: subject, Header: header}); err != nil {
			t.Fatal(err)
		}
	}
}

func TestBacklogs(t *testing.T) {
	t.Parallel()
	srv := natstest.Start(t, natstest.Options{})
	subjects := map[string]int{
		names.LaneSubject("a"): 3, names.DueSubject("a"): 2, names.DeadLetterSubject("a"): 1,
		names.DeadLetterSubject("b"): 4,
	}
	for i := range 5 {
		subjects[names.RetrySubject("a", fmt.Sprint("key", i))] = 1
		subjects[names.RetrySubject("ab", fmt.Sprint("key", i))] = 1
	}
	fill(t, srv, subjects)
	want := map[string]Backlog{
		"a":  {Waiting: 3, Oldest: time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC), Retries: 7, DeadLetters: 1},
		"b":  {DeadLetters: 4},
		"ab": {Retries: 5},
	}
	got, err := Backlogs(t.Context(), jsapi.On(srv.Conn()), names, nil)
	if err != nil {
		t.Fatal(err)
	}
	if len(got) != len(want) {
		t.Errorf("Backlogs() = %+v", got)
	}
	for endpoint, backlog := range want {
		if got[endpoint] != backlog {
			t.Errorf("Backlogs()[%s] = %+v, want %+v", endpoint, got[endpoint], backlog)
		}
		if one, err := BacklogOf(t.Context(), jsapi.On(srv.Conn()), names, endpoint); err != nil || one != backlog {
			t.Errorf("BacklogOf(%s) = %+v, %v, want %+v", endpoint, one, err, backlog)
		}
	}
	if one, err := BacklogOf(t.Context(), jsapi.On(srv.Conn()), names, "c"); err != nil || one != (Backlog{}) {
		t.Errorf("BacklogOf(c) = %+v, %v, want none", one, err)
	}
}

// What is settled but still stored does not wait.
func TestBacklogOfSettled(t *testing.T) {
	t.Parallel()
	minute := func(m int) time.Time { return time.Date(2026, 3, 1, 12, m, 0, 0, time.UTC) }
	for _, tt := range []struct {
		name    string
		fetched int
		acked   []int // of those that were fetched
		want    Backlog
	}{
		{"nothing handed out", 0, nil, Backlog{Waiting: 5, Oldest: minute(0)}},
		{"one in other hands", 1, nil, Backlog{Waiting: 5, Oldest: minute(0)}},
		{"three settled", 3, []int{0, 1, 2}, Backlog{Waiting: 2, Oldest: minute(3)}},
		{"three settled, one in other hands", 4, []int{0, 1, 2}, Backlog{Waiting: 2, Oldest: minute(3)}},
		{"settled around one", 4, []int{0, 2, 3}, Backlog{Waiting: 2, Oldest: minute(1)}},
		{"all settled", 5, []int{0, 1, 2, 3, 4}, Backlog{}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			srv := natstest.Start(t, natstest.Options{})
			// Messages of another lane before, so that the sequences of the stream and
			// of the consumer differ.
			fill(t, srv, map[string]int{names.LaneSubject("b"): 2})
			publish(t, srv, names.LaneSubject("a"), 5)
			consumer, err := srv.JetStream().CreateConsumer(t.Context(), names.LanesStream(), jetstream.ConsumerConfig{
				Durable: names.LaneConsumer("a"), FilterSubject: names.LaneSubject("a"), AckPolicy: jetstream.AckExplicitPolicy,
			})
			if err != nil {
				t.Fatal(err)
			}
			for i := range tt.fetched {
				m, err := consumer.Next()
				if err != nil {
					t.Fatal(err)
				}
				if slices.Contains(tt.acked, i) {
					if err := m.DoubleAck(t.Context()); err != nil {
						t.Fatal(err)
					}
				}
			}
			want := map[string]Backlog{"a": tt.want, "b": {Waiting: 2, Oldest: minute(0)}}
			if got, err := Backlogs(t.Context(), jsapi.On(srv.Conn()), names, nil); err != nil || !maps.Equal(got, want) {
				t.Errorf("Backlogs() = %+v, %v, want %+v", got, err, want)
			}
			if got, err := BacklogOf(t.Context(), jsapi.On(srv.Conn()), names, "a"); err != nil || got != tt.want {
				t.Errorf("BacklogOf(a) = %+v, %v, want %+v", got, err, tt.want)
			}
		})
	}
}

func TestBacklogWithoutStreams(t *testing.T) {
	t.Parallel()
	srv := natstest.Start(t, natstest.Options{})
	if got, err := Backlogs(t.Context(), jsapi.On(srv.Conn()), names, []string{"a"}); err != nil || len(got) != 0 {
		t.Errorf("Backlogs() = %+v, %v, want none", got, err)
	}
	if got, err := BacklogOf(t.Context(), jsapi.On(srv.Conn()), names, "a"); err != nil || got != (Backlog{}) {
		t.Errorf("BacklogOf() = %+v, %v, want none", got, err)
	}
}
