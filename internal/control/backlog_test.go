package control

import (
	"fmt"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

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
		for i := range n {
			accepted := time.Date(2026, 3, 1, 12, i, 0, 0, time.UTC)
			header := nats.Header{wire.HeaderAccepted: {accepted.Format(time.RFC3339Nano)}}
			if _, err := srv.JetStream().PublishMsg(t.Context(), &nats.Msg{Subject: subject, Header: header}); err != nil {
				t.Fatal(err)
			}
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
	got, err := Backlogs(t.Context(), srv.Conn(), names, nil)
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
		if one, err := BacklogOf(t.Context(), srv.Conn(), names, endpoint); err != nil || one != backlog {
			t.Errorf("BacklogOf(%s) = %+v, %v, want %+v", endpoint, one, err, backlog)
		}
	}
	if one, err := BacklogOf(t.Context(), srv.Conn(), names, "c"); err != nil || one != (Backlog{}) {
		t.Errorf("BacklogOf(c) = %+v, %v, want none", one, err)
	}
}

func TestBacklogWithoutStreams(t *testing.T) {
	t.Parallel()
	srv := natstest.Start(t, natstest.Options{})
	if got, err := Backlogs(t.Context(), srv.Conn(), names, []string{"a"}); err != nil || len(got) != 0 {
		t.Errorf("Backlogs() = %+v, %v, want none", got, err)
	}
	if got, err := BacklogOf(t.Context(), srv.Conn(), names, "a"); err != nil || got != (Backlog{}) {
		t.Errorf("BacklogOf() = %+v, %v, want none", got, err)
	}
}
