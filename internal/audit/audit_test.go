package audit

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"go.uber.org/goleak"

	"fanjet/internal/natstest"
	"fanjet/internal/wire"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m, natstest.Leaks()...) }

var names = wire.NewNames("acme")

// newLog returns the record of a server of the test's own; stream says whether
// it exists.
func newLog(t *testing.T, stream bool) *Log {
	t.Helper()
	js := natstest.Start(t, natstest.Options{}).JetStream()
	if stream {
		if _, err := js.CreateStream(t.Context(), jetstream.StreamConfig{
			Name: names.AuditStream(), Subjects: []string{names.AuditSubject("*", "*")}, AllowDirect: true, DenyDelete: true,
		}); err != nil {
			t.Fatal(err)
		}
	}
	return New(js, names)
}

func list(t *testing.T, l *Log, f Filter) []Record {
	t.Helper()
	var found []Record
	for r, err := range l.List(t.Context(), f) {
		if err != nil {
			t.Fatal(err)
		}
		found = append(found, r)
	}
	return found
}

func write(t *testing.T, l *Log, by Actor, r Record) {
	t.Helper()
	if err := l.Write(t.Context(), by, r); err != nil {
		t.Fatal(err)
	}
}

func TestWriteAndRead(t *testing.T) {
	t.Parallel()
	l := newLog(t, true)
	api := Actor{Via: ViaAPI, Name: "deploy", Host: "127.0.0.1", Authenticated: true}
	want := Record{
		Actor: api, Action: Purge, Target: "billing", Detail: "d", Reason: "r", Filter: map[string]string{"reason": "exhausted"}, DryRun: true,
		Operation: "op", Count: 3, Skipped: 2, Failed: 1, Result: OK,
	}
	began := time.Now().Add(-time.Minute)
	write(t, l, api, want)
	got := list(t, l, Filter{})
	if len(got) != 1 {
		t.Fatalf("%d records, want 1", len(got))
	}
	if got[0].Time.Before(began) || got[0].Time.After(time.Now().Add(time.Minute)) {
		t.Errorf("recorded at %v", got[0].Time)
	}
	want.Seq, want.Time, want.Via = 1, got[0].Time, ViaAPI
	if text, wantText := encoded(t, got[0]), encoded(t, want); text != wantText {
		t.Errorf("read    %s\nwritten %s", text, wantText)
	}
}

// Acts are recorded although whoever asked for them has gone away.
func TestWriteAfterTheEnd(t *testing.T) {
	t.Parallel()
	l := newLog(t, true)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := l.Write(ctx, Actor{Via: ViaCLI, Name: "ann"}, Record{Action: Pause, Result: OK}); err != nil {
		t.Error(err)
	}
}

// The subject, which permissions guard, says what the way was, and not the text.
func TestForgedRecords(t *testing.T) {
	t.Parallel()
	l := newLog(t, true)
	for _, body := range []string{
		`{"via":"api","action":"pause","actor":{"name":"root","authenticated":true},"result":"ok","seq":99,"time":"2001-01-01T00:00:00Z"}`,
		"\x00 no JSON",
		"",
	} {
		if _, err := l.js.Publish(t.Context(), names.AuditSubject("cli", "purge"), []byte(body)); err != nil {
			t.Fatal(err)
		}
	}
	for _, r := range list(t, l, Filter{}) {
		if r.Via != ViaCLI || r.Action != Purge || r.Actor.Authenticated || r.Seq > 3 || r.Time.Year() < 2020 {
			t.Errorf("a forged record is read as %+v", r)
		}
	}
}

func TestFilter(t *testing.T) {
	t.Parallel()
	l := newLog(t, true)
	ann, bob := Actor{Via: ViaCLI, Name: "ann"}, Actor{Via: ViaAPI, Name: "bob"}
	write(t, l, ann, Record{Action: Pause, Target: "1"})
	write(t, l, bob, Record{Action: Pause, Target: "2"})
	write(t, l, ann, Record{Action: Resume, Target: "3"})
	all := list(t, l, Filter{})
	for _, tt := range []struct {
		name   string
		filter Filter
		want   string // targets, as they come
	}{
		{"none", Filter{}, "3 2 1"},
		{"action", Filter{Action: Pause}, "2 1"},
		{"actor", Filter{Actor: "ann"}, "3 1"},
		{"both", Filter{Action: Pause, Actor: "ann"}, "1"},
		{"limit", Filter{Limit: 2}, "3 2"},
		{"next page", Filter{Limit: 2, Before: 2}, "1"},
		{"before the first", Filter{Before: 1}, ""},
		{"since", Filter{Since: all[0].Time}, "3"},
		{"until", Filter{Until: all[0].Time}, "2 1"},
		{"nobody", Filter{Actor: "eve"}, ""},
	} {
		var got []string
		for _, r := range list(t, l, tt.filter) {
			got = append(got, r.Target)
		}
		if strings.Join(got, " ") != tt.want {
			t.Errorf("%s: %v, want %s", tt.name, got, tt.want)
		}
	}
	for want, f := range map[string]Filter{
		"action": {Action: "dance"}, "limit": {Limit: -1}, "since": {Since: all[0].Time, Until: all[2].Time},
	} {
		if err := f.Validate(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%+v: %v, want an error about %s", f, err, want)
		}
		for _, err := range l.List(t.Context(), f) {
			if err == nil {
				t.Errorf("%+v lists something", f)
			}
		}
	}
}

// More records than fit into a page come all, each once, the newest first.
func TestPages(t *testing.T) {
	t.Parallel()
	l := newLog(t, true)
	const n = 2*pageRecords + 3
	for i := range n {
		if _, err := l.js.PublishAsync(names.AuditSubject("cli", "ping"), fmt.Appendf(nil, `{"target":"%d"}`, i), jetstream.WithStallWait(time.Minute)); err != nil {
			t.Fatal(err)
		}
	}
	<-l.js.PublishAsyncComplete()
	got := list(t, l, Filter{})
	if len(got) != n {
		t.Fatalf("%d records, want %d", len(got), n)
	}
	for i, r := range got {
		if want := uint64(n - i); r.Seq != want {
			t.Fatalf("record %d has the sequence %d, want %d", i, r.Seq, want)
		}
	}
}

func TestWithoutStream(t *testing.T) {
	t.Parallel()
	l := newLog(t, false)
	err := l.Write(t.Context(), Actor{Via: ViaCLI}, Record{Action: Pause})
	if !errors.Is(err, ErrNotStored) || !strings.Contains(err.Error(), "ACME_AUDIT does not exist") {
		t.Errorf("Write = %v", err)
	}
	for _, err := range l.List(t.Context(), Filter{}) {
		if err == nil || !strings.Contains(err.Error(), "ACME_AUDIT does not exist") {
			t.Errorf("List: %v", err)
		}
	}
}

func TestLongTextsAreCut(t *testing.T) {
	t.Parallel()
	l := newLog(t, true)
	write(t, l, Actor{Via: ViaCLI, Name: strings.Repeat("x", 1<<20)}, Record{Action: Pause, Reason: strings.Repeat("é", 1<<20), Result: OK, Detail: strings.Repeat("z", 1<<20)})
	r := list(t, l, Filter{})[0]
	for _, text := range []string{r.Actor.Name, r.Reason, r.Detail} {
		if len(text) > maxText+len("…") || !strings.HasSuffix(text, "…") || strings.ContainsRune(text, '\uFFFD') {
			t.Errorf("a text of %d bytes: …%q", len(text), text[len(text)-8:])
		}
	}
}

func TestActionsAreKnown(t *testing.T) {
	t.Parallel()
	if Action("dance").Valid() || slices.ContainsFunc(Actions(), func(a Action) bool { return !a.Valid() }) {
		t.Error("Valid is wrong")
	}
}

// A result is a word of a few, and what there is to be said stands beside it, also
// in records of earlier versions.
func TestResultsAreWords(t *testing.T) {
	t.Parallel()
	l := newLog(t, true)
	for _, tt := range []struct {
		stored, result, detail string
	}{
		{`{"result":"ok","detail":"d"}`, OK, "d"},
		{`{"result":"started"}`, Started, ""},
		{`{"result":"refused","detail":"fanjet.yaml:1:1: x"}`, Refused, "fanjet.yaml:1:1: x"},
		{`{"result":"nats: timeout"}`, Failed, "nats: timeout"},
		{`{"result":"answered with status 500","detail":"d"}`, Failed, "d; answered with status 500"},
		{`{}`, Unreadable, ""},
		{`[]`, Unreadable, "somebody else than Fanjet wrote this record"},
	} {
		if _, err := l.js.Publish(t.Context(), names.AuditSubject("cli", "ping"), []byte(tt.stored)); err != nil {
			t.Fatal(err)
		}
		if r := list(t, l, Filter{Limit: 1})[0]; r.Result != tt.result || r.Detail != tt.detail {
			t.Errorf("%s is read as %q with %q", tt.stored, r.Result, r.Detail)
		}
	}
	for err, want := range map[error]Record{
		nil:             {Result: OK, Detail: "d"},
		errors.New("x"): {Result: Failed, Detail: "d; x"},
	} {
		r := Record{Detail: "d"}
		if r.Ended(err); r.Result != want.Result || r.Detail != want.Detail {
			t.Errorf("%v: %q with %q", err, r.Result, r.Detail)
		}
	}
}

func encoded(t *testing.T, r Record) string {
	t.Helper()
	text, err := json.Marshal(r)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}
