package dlq

import (
	"bytes"
	"encoding/json"
	"errors"
	"reflect"
	"strings"
	"testing"

	"github.com/nats-io/nats.go"

	"fanjet/internal/natstest"
)

func TestExport(t *testing.T) {
	t.Parallel()
	f := newFixture(t, natstest.Options{})
	f.put(
		spec{data: `{"html":"<b>&</b>"}`, headers: nats.Header{"X-Team": {"payments"}}},
		spec{data: "\x00\xff not text"},
		spec{reason: ReasonTooLarge}, // its event is gone
	)
	var out bytes.Buffer
	outcome, err := f.Export(t.Context(), Filter{}, &out)
	if err != nil || outcome.Done != 2 || outcome.Failed != 1 || !errors.Is(outcome.Failures[0].Err, ErrSourceGone) {
		t.Errorf("Export() = %+v, %v", outcome, err)
	}
	lines := strings.Split(strings.TrimSuffix(out.String(), "\n"), "\n")
	want := f.list(Filter{})
	want[2].Headers, want[2].Data = nil, nil
	if len(lines) != len(want) {
		t.Fatalf("exported %d lines, want %d:\n%s", len(lines), len(want), out.String())
	}
	for i, line := range lines {
		var got Letter
		if err := json.Unmarshal([]byte(line), &got); err != nil {
			t.Fatal(err)
		}
		if !reflect.DeepEqual(got, want[i]) {
			t.Errorf("line %d = %+v\nwant     %+v", i+1, got, want[i])
		}
	}
	if strings.Contains(lines[2], `"data"`) || !strings.Contains(lines[2], `"by_reference":true`) {
		t.Errorf("the letter without its event is %s", lines[2])
	}
}

type brokenWriter struct{}

func (brokenWriter) Write([]byte) (int, error) { return 0, errors.New("disk full") }

func TestExportWriteError(t *testing.T) {
	t.Parallel()
	f := newFixture(t, natstest.Options{})
	f.put(spec{}, spec{})
	if _, err := f.Export(t.Context(), Filter{}, brokenWriter{}); err == nil || !strings.Contains(err.Error(), "disk full") {
		t.Errorf("Export() = %v, want the writer's error", err)
	}
}

func TestStats(t *testing.T) {
	t.Parallel()
	f := newFixture(t, natstest.Options{})
	f.put(
		spec{endpoint: "crm", data: "12345"},
		spec{endpoint: "billing", reason: ReasonExpired, data: "1"},
		spec{endpoint: "billing", data: "12"},
		spec{endpoint: "crm", data: "123"},
	)
	letters := f.list(Filter{})
	at := func(i int) Stat { return Stat{Oldest: letters[i].DeadLettered, Newest: letters[i].DeadLettered} }
	stat := func(s Stat, endpoint string, reason Reason, n int, size int64) Stat {
		s.Endpoint, s.Reason, s.Letters, s.Bytes = endpoint, reason, n, size
		return s
	}
	crm := stat(at(0), "crm", ReasonExhausted, 2, 8)
	crm.Newest = letters[3].DeadLettered
	want := []Stat{
		stat(at(2), "billing", ReasonExhausted, 1, 2),
		stat(at(1), "billing", ReasonExpired, 1, 1),
		crm,
	}
	got, err := f.Stats(t.Context(), Filter{})
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("Stats() = %+v, %v\nwant      %+v", got, err, want)
	}
	got, err = f.Stats(t.Context(), Filter{Endpoint: "billing", Reason: ReasonExpired})
	if err != nil || !reflect.DeepEqual(got, want[1:2]) {
		t.Errorf("Stats() of a filter = %+v, %v\nwant %+v", got, err, want[1:2])
	}
}
