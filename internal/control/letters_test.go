package control

import (
	"errors"
	"fmt"
	"net/url"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"fanjet/dlq"
	"fanjet/internal/audit"
	"fanjet/internal/natstest"
	"fanjet/internal/wire"
	"fanjet/subscriber/endpoint"

	"github.com/nats-io/nats.go/jetstream"
)

// newLetters returns the letters of a server of the test's own: so many for each
// endpoint. The configuration has billing.
func newLetters(t *testing.T, counts dlq.Counts) (*Letters, jetstream.JetStream) {
	t.Helper()
	js, names := natstest.Start(t, natstest.Options{}).JetStream(), wire.NewNames("")
	for name, subject := range map[string]string{
		names.DeadLettersStream(): names.DeadLetterSubject("*"),
		names.DeliveriesStream():  names.DeliverSubject("*"),
		names.AuditStream():       names.AuditSubject("*", "*"),
	} {
		if _, err := js.CreateStream(t.Context(), jetstream.StreamConfig{
			Name: name, Subjects: []string{subject}, AllowDirect: true, AllowAtomicPublish: true,
		}); err != nil {
			t.Fatal(err)
		}
	}
	for endpoint, n := range counts {
		for i := range n {
			m := dlq.NewMessage(names, wire.Envelope{EventID: "msg_1", Key: "key", Endpoint: endpoint, Subject: "events.a", Source: "EVENTS/1", Accepted: time.Now(), Attempt: 2},
				dlq.ReasonExhausted, 1, nil, []byte("{}"), fmt.Sprintf("%s/%d", endpoint, i))
			if _, err := js.PublishMsg(t.Context(), m); err != nil {
				t.Fatal(err)
			}
		}
	}
	billing := endpoint.Default()
	billing.Name, billing.URL = "billing", &url.URL{Scheme: "https", Host: "billing.example.com"}
	letters, err := OpenLetters(t.Context(), NewOperator(Options{
		JetStream: js, Names: names, Endpoints: func() []endpoint.Settings { return []endpoint.Settings{billing} },
	}))
	if err != nil {
		t.Fatal(err)
	}
	return letters, js
}

// What was selected, and is gone before it is looked at, is skipped: each letter
// is in the report once.
func TestGoneLettersAreSkipped(t *testing.T) {
	t.Parallel()
	for name, do := range map[string]func(*Letters, Act, dlq.Filter, *testing.T) (LettersReport, error){
		"replay": func(l *Letters, act Act, f dlq.Filter, t *testing.T) (LettersReport, error) {
			return l.Replay(t.Context(), act, f, Outlook{}, dlq.ReplayOptions{})
		},
		"purge": func(l *Letters, act Act, f dlq.Filter, t *testing.T) (LettersReport, error) {
			return l.Purge(t.Context(), act, f, dlq.PurgeOptions{})
		},
		"drain": func(l *Letters, act Act, f dlq.Filter, t *testing.T) (LettersReport, error) {
			file, err := dlq.OpenDrainFile(filepath.Join(t.TempDir(), "letters.jsonl"))
			if err != nil {
				return LettersReport{}, err
			}
			report, err := l.Drain(t.Context(), act, f, file, dlq.DrainOptions{})
			return report, errors.Join(err, file.Close())
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			l, js := newLetters(t, dlq.Counts{"billing": 5})
			var f dlq.Filter
			counts, err := l.Freeze(t.Context(), &f)
			if err != nil {
				t.Fatal(err)
			}
			stream, err := js.Stream(t.Context(), "FANJET_DLQ")
			if err != nil {
				t.Fatal(err)
			}
			for seq := range uint64(2) {
				if err := stream.DeleteMsg(t.Context(), seq+2); err != nil {
					t.Fatal(err)
				}
			}
			report, err := do(l, Act{By: audit.Actor{Via: audit.ViaCLI, Name: "ann"}, Selected: counts.Total()}, f, t)
			if err != nil || report.Done != 3 || report.Skipped != 2 || report.Failed != 0 {
				t.Errorf("%+v, %v, want 3 done and 2 skipped", report, err)
			}
		})
	}
}

func TestCheckLetters(t *testing.T) {
	t.Parallel()
	l, _ := newLetters(t, dlq.Counts{"crm": 1})
	for endpoint, want := range map[string]string{
		"": "", "billing": "", "crm": "", // none, configured, with letters
		"biling": "did you mean billing?", "crn": "did you mean crm?",
	} {
		err := l.Check(t.Context(), dlq.Filter{Endpoint: endpoint})
		if want == "" && err != nil || want != "" && (!errors.Is(err, ErrUnknownEndpoint) || !strings.Contains(err.Error(), want)) {
			t.Errorf("Check(%q) = %v, want %q", endpoint, err, want)
		}
	}
}

// Without a gateway nothing is known but that one has to run; and what is in no
// configuration is removed.
// What is waited for depends on the state: one that refuses does answer.
func TestWaitingSaysForWhat(t *testing.T) {
	t.Parallel()
	at := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	for _, test := range []struct {
		state endpoint.State
		until time.Time
		want  string
	}{
		{endpoint.StatePaused, time.Time{}, ", until it is resumed"},
		{endpoint.StateBackingOff, at, ", until 2026-03-01T12:00:00Z"},
		{endpoint.StateOpen, at, ", until it answers again; the next probe is at 2026-03-01T12:00:00Z"},
		{endpoint.StateOpen, time.Time{}, ", until it answers again"},
		{endpoint.StateRefusing, at, ", until it accepts one; the next attempt is at 2026-03-01T12:00:00Z"},
		{endpoint.StateRefusing, time.Time{}, ", until it accepts one"},
	} {
		w := Waiting{Endpoint: "a", Letters: 2, State: test.state, Until: test.until}
		if got, want := w.String(), "2 letters will wait for a, which is "+string(test.state)+test.want; got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}

func TestOutlookWithoutGateway(t *testing.T) {
	t.Parallel()
	l, _ := newLetters(t, dlq.Counts{"crm": 2, "billing": 1})
	var f dlq.Filter
	counts, err := l.Freeze(t.Context(), &f)
	if err != nil {
		t.Fatal(err)
	}
	outlook, err := l.Outlook(t.Context(), f, counts)
	if err != nil || len(outlook.Waiting) != 1 || len(outlook.Removed) != 1 || outlook.Removed[0] != "crm" {
		t.Fatalf("Outlook() = %+v, %v", outlook, err)
	}
	if got := outlook.Waiting[0].String(); got != "1 letter will wait for billing, which is unknown (no gateway answers), until a gateway that knows it runs" {
		t.Error(got)
	}
	if _, err := l.Outlook(t.Context(), dlq.Filter{Endpoint: "crm"}, dlq.Counts{"crm": 2}); !errors.Is(err, ErrRemoved) {
		t.Errorf("to a removed endpoint: %v", err)
	}
	// Of a configuration without endpoints nothing follows.
	l.operator.opts.Endpoints = func() []endpoint.Settings { return nil }
	if all, err := l.Outlook(t.Context(), f, counts); err != nil || len(all.Waiting) != 2 || len(all.Removed) != 0 {
		t.Errorf("without endpoints: %+v, %v", all, err)
	}
	report, err := l.Replay(t.Context(), Act{By: audit.Actor{Via: audit.ViaCLI, Name: "ann"}, Selected: 3}, f, outlook, dlq.ReplayOptions{})
	if err != nil || report.Done != 1 || report.Failed != 2 || report.Skipped != 0 || len(report.Waiting) != 1 {
		t.Errorf("Replay() = %+v, %v", report, err)
	}
}
