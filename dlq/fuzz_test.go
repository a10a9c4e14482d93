package dlq

import (
	"bytes"
	"encoding/json"
	"errors"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"fanjet/internal/wire"
)

// storedAs returns a letter as the dead-letter stream hands it out.
func storedAs(names wire.Names, m *nats.Msg, seq uint64, at time.Time) *nats.Msg {
	h := maps.Clone(m.Header)
	if h == nil {
		h = nats.Header{}
	}
	add := func(key, value string) { h[key] = append(slices.Clone(h[key]), value) }
	add(jetstream.StreamHeader, names.DeadLettersStream())
	add(jetstream.SubjectHeader, m.Subject)
	add(jetstream.SequenceHeader, strconv.FormatUint(seq, 10))
	add(jetstream.TimeStampHeaer, at.UTC().Format(time.RFC3339Nano))
	return &nats.Msg{Subject: m.Subject, Header: h, Data: m.Data}
}

// FuzzLetter makes letters of events with any headers and any body: what is read
// is what was written, and none of the event's headers is taken for ours. Its
// line in an export is one, and says the same.
func FuzzLetter(f *testing.F) {
	f.Add([]byte("NATS/1.0\r\nX-A: 1\r\n\r\n"), []byte(`{}`), "rejected", 3, "status 500")
	f.Add([]byte("NATS/1.0\r\nFanjet-Reason: x\r\nNats-Sequence: 9\r\nnats-stream: EVIL\r\nFanjet-Attempts: 7\r\n\r\n"), []byte("\xff\x00"), "too_large", 0, "")
	f.Add([]byte("NATS/1.0\r\nX: \xff\r\n\r\n"), []byte("\u2028\n"), "exhausted", -1, "a\r\nFanjet-Key: x")
	f.Fuzz(func(t *testing.T, block, data []byte, reason string, attempts int, lastError string) {
		header, err := nats.DecodeHeadersMsg(block)
		if err != nil {
			return
		}
		q := &Queue{names: wire.NewNames("")}
		env := wire.Envelope{
			EventID: "msg_a", Key: "k", Endpoint: "billing", Subject: "events.a", Source: "EVENTS/1", Accepted: time.Unix(1, 2).UTC(), Attempt: 4,
			LastStatus: 500, LastError: lastError,
		}
		at := time.Unix(3, 4).UTC()
		l, err := q.decode(storedAs(q.names, NewMessage(q.names, env, Reason(reason), attempts, header, data, "hop"), 17, at))
		if err != nil {
			t.Fatal(err)
		}
		byReference := Reason(reason) == ReasonTooLarge
		if l.Seq != 17 || l.EventID != env.EventID || l.Endpoint != env.Endpoint || l.Key != env.Key || l.Subject != env.Subject || l.Source != env.Source ||
			!l.Accepted.Equal(env.Accepted) || l.Reason != Reason(reason) || l.Attempts != attempts || l.LastStatus != 500 || !l.DeadLettered.Equal(at) || l.ByReference != byReference {
			t.Errorf("%+v", l)
		}
		if !byReference && !bytes.Equal(l.Data, data) || byReference && len(l.Data)+len(l.Headers) != 0 {
			t.Errorf("another body: %q", l.Data)
		}
		if known := slices.Contains(Reasons(), Reason(reason)); known != (l.Problem == "") {
			t.Errorf("reason %q: problem %q", reason, l.Problem)
		}
		if want := wire.EventHeaders(header); !byReference && !maps.EqualFunc(l.Headers, want, slices.Equal) {
			t.Errorf("headers %q, not %q", l.Headers, want)
		}
		checkExport(t, &l)
	})
}

func checkExport(t *testing.T, l *Letter) {
	t.Helper()
	line, err := json.Marshal(l)
	if err != nil || bytes.ContainsAny(line, "\n\r\x00\x1b") {
		t.Fatalf("%v: %q", err, line)
	}
	var back Letter
	if err := json.Unmarshal(line, &back); err != nil {
		t.Fatal(err)
	}
	// Headers that are no text are replaced; everything else is what it was.
	back.Headers, l.Headers = nil, nil
	one, err := json.Marshal(l)
	other, otherErr := json.Marshal(&back)
	if err != nil || otherErr != nil || !bytes.Equal(one, other) && !bytes.Contains(line, []byte(`\ufffd`)) || !bytes.Equal(back.Data, l.Data) {
		t.Errorf("%s, not %s", other, one)
	}
}

// FuzzDecode reads messages that somebody else published as letters: each is one
// with a problem, or a whole one.
func FuzzDecode(f *testing.F) {
	f.Add([]byte("NATS/1.0\r\n\r\n"), "billing", []byte("x"))
	f.Add([]byte("NATS/1.0\r\nFanjet-Event-Id: i\r\nFanjet-Key: k\r\nFanjet-Endpoint: billing\r\nFanjet-Subject: s\r\nFanjet-Source: S/1\r\n"+
		"Fanjet-Accepted: 2026-01-02T03:04:05Z\r\nFanjet-Attempt: 1\r\nFanjet-Reason: rejected\r\nFanjet-Attempts: 1\r\n\r\n"), "billing", []byte("x"))
	f.Add([]byte("NATS/1.0 404 Message Not Found\r\n\r\n"), "a.b", []byte(nil))
	f.Fuzz(func(t *testing.T, block []byte, endpoint string, data []byte) {
		header, err := nats.DecodeHeadersMsg(block)
		if err != nil {
			return
		}
		q := &Queue{names: wire.NewNames("")}
		l, err := q.decode(storedAs(q.names, &nats.Msg{Subject: q.names.DeadLetterSubject(endpoint), Header: header, Data: data}, 1, time.Unix(1, 0)))
		if err != nil {
			t.Fatal(err)
		}
		if l.Seq != 1 || l.Endpoint != endpoint || l.Problem == "" && (l.Key == "" || l.EventID == "" || l.Accepted.IsZero() || !slices.Contains(Reasons(), l.Reason)) {
			t.Errorf("%+v", l)
		}
		checkExport(t, &l)
	})
}

// FuzzOpenDrainFile opens files with anything in them: one that is taken keeps all
// of its whole lines, and holds nothing else than letters then; another is left as
// it is.
func FuzzOpenDrainFile(f *testing.F) {
	line, err := lineText(&Letter{Seq: 1, Endpoint: "a", DeadLettered: time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC), Data: []byte("x")})
	if err != nil {
		f.Fatal(err)
	}
	for _, seed := range []string{"", string(line), string(line) + `{"seq":2`, string(line[:len(line)-1]), "notes\n", string(line) + "\n", "\x00"} {
		f.Add([]byte(seed))
	}
	path := filepath.Join(f.TempDir(), "letters.jsonl")
	f.Fuzz(func(t *testing.T, before []byte) {
		if err := os.WriteFile(path, before, 0o600); err != nil {
			t.Fatal(err)
		}
		file, err := OpenDrainFile(path)
		after, readErr := os.ReadFile(path)
		if readErr != nil {
			t.Fatal(readErr)
		}
		if err != nil {
			if !errors.Is(err, ErrNoDrainFile) || !bytes.Equal(before, after) {
				t.Fatalf("refused with %v, and now it has %q", err, after)
			}
			return
		}
		if err := file.Close(); err != nil {
			t.Fatal(err)
		}
		whole := before[:bytes.LastIndexByte(before, '\n')+1]
		if !bytes.HasPrefix(after, whole) || len(after) > len(before)+1 || len(after) > 0 && after[len(after)-1] != '\n' {
			t.Fatalf("it has %q now", after)
		}
		for text := range bytes.Lines(after) {
			if !isLetter(text) {
				t.Fatalf("taken with the line %q", text)
			}
		}
	})
}
