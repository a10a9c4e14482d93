package dlq

import (
	"context"
	"errors"
	"strconv"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"fanjet/internal/wire"
)

// A page is whole when its end names the letter that came last. If letters are missing
// it is read again: what is not seen would stay, or be taken for the end of the queue.
func TestPageThatWasCutShort(t *testing.T) {
	t.Parallel()
	q := &Queue{names: wire.NewNames("")}
	for name, test := range map[string]struct {
		status, last, pending string
		letters               []uint64
		done                  bool
		err                   error
	}{
		"there are more":              {status: "204", last: "7", pending: "3", letters: []uint64{5, 7}},
		"the last page":               {status: "204", last: "7", pending: "0", letters: []uint64{5, 7}, done: true},
		"its last letter is missing":  {status: "204", last: "9", pending: "0", letters: []uint64{5, 7}, err: errPageLost},
		"all of it is missing":        {status: "204", last: "9", pending: "0", err: errPageLost},
		"its end has no number":       {status: "204", pending: "0", letters: []uint64{5, 7}, err: errPageLost},
		"there are no letters":        {status: "404", done: true},
		"nobody reads":                {status: "503", err: errNoDirectReads},
		"how many follow is not said": {status: "204", last: "7", letters: []uint64{5, 7}},
	} {
		var letters []Letter
		for _, seq := range test.letters {
			letters = append(letters, Letter{Seq: seq})
		}
		end := nats.NewMsg("inbox")
		end.Header.Set("Status", test.status)
		end.Header.Set("Nats-Num-Pending", test.pending)
		end.Header.Set("Nats-Last-Sequence", test.last)
		got, done, err := q.endPage(end, letters)
		if !errors.Is(err, test.err) || done != test.done || test.err == nil && len(got) != len(letters) {
			t.Errorf("%s: %d letters, done %v, %v", name, len(got), done, err)
		}
	}
	end := nats.NewMsg("inbox")
	end.Header.Set("Status", "408")
	if _, _, err := q.endPage(end, []Letter{{Seq: 1}}); err == nil || errors.Is(err, errPageLost) || errors.Is(err, errNoDirectReads) {
		t.Errorf("a status that nobody knows: %v", err)
	}
}

// What the server says of a letter comes last among its headers, whatever an event
// had.
func TestLetterIsWhatTheServerSays(t *testing.T) {
	t.Parallel()
	names := wire.NewNames("")
	q := &Queue{names: names}
	stored := time.Date(2026, 1, 1, 12, 0, 0, 5, time.UTC)
	message := func(change func(nats.Header)) *nats.Msg {
		env := wire.Envelope{EventID: "msg_1", Key: "k", Endpoint: "a", Subject: "s", Source: "S/1", Accepted: stored, Attempt: 4}
		m := NewMessage(names, env, ReasonExhausted, 3, nil, []byte("{}"), "hop")
		for key, value := range map[string]string{
			jetstream.StreamHeader: names.DeadLettersStream(), jetstream.SubjectHeader: m.Subject,
			jetstream.SequenceHeader: "7", jetstream.TimeStampHeaer: stored.Format(time.RFC3339Nano),
		} {
			m.Header[key] = []string{"99", value} // the event's, and the server's
		}
		change(m.Header)
		return m
	}
	l, err := q.decode(message(func(nats.Header) {}))
	if err != nil || l.Seq != 7 || !l.DeadLettered.Equal(stored) || l.Endpoint != "a" || l.Attempts != 3 || l.Reason != ReasonExhausted || l.Problem != "" || l.ByReference {
		t.Errorf("%+v, %v", l, err)
	}
	for name, change := range map[string]func(nats.Header){
		"for another endpoint": func(h nats.Header) { h.Set(wire.HeaderEndpoint, "b") },
		"without a reason":     func(h nats.Header) { h.Del(HeaderReason) },
		"for no known reason":  func(h nats.Header) { h.Set(HeaderReason, "whim") },
		"without attempts":     func(h nats.Header) { h.Del(HeaderAttempts) },
		"that is no delivery":  func(h nats.Header) { h.Del(wire.HeaderKey) },
	} {
		if l, err := q.decode(message(change)); err != nil || l.Problem == "" {
			t.Errorf("%s: %+v, %v", name, l, err)
		}
	}
	for name, change := range map[string]func(nats.Header){
		"of a mirror":        func(h nats.Header) { h.Set(jetstream.StreamHeader, "MIRROR") },
		"without a sequence": func(h nats.Header) { h.Set(jetstream.SequenceHeader, "x") },
		"without a time":     func(h nats.Header) { h.Set(jetstream.TimeStampHeaer, "x") },
	} {
		if _, err := q.decode(message(change)); err == nil || errors.Is(err, errMirror) != (name == "of a mirror") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// skewed is a stream whose server's clock is off.
type skewed struct {
	jetstream.Stream
	ahead time.Duration
	last  uint64
}

func (s skewed) Info(context.Context, ...jetstream.StreamInfoOpt) (*jetstream.StreamInfo, error) {
	return &jetstream.StreamInfo{
		Created: time.Now().Add(-time.Hour), TimeStamp: time.Now().Add(s.ahead),
		State: jetstream.StreamState{LastSeq: s.last, Subjects: map[string]uint64{"fanjet.dlq.a": 3, "fanjet.dlq.b": 2}},
	}, nil
}

// What is replayed is accepted now by the server's clock: with a wrong clock here, in
// either direction, it would expire before its first attempt, or never.
func TestReplayGoesByTheServersClock(t *testing.T) {
	t.Parallel()
	for _, ahead := range []time.Duration{0, 100 * time.Hour, -100 * time.Hour} {
		synctest.Test(t, func(t *testing.T) {
			q := &Queue{names: wire.NewNames(""), stream: skewed{ahead: ahead, last: 9}}
			state, err := q.snapshot(t.Context(), new(Filter))
			if err != nil {
				t.Fatal(err)
			}
			time.Sleep(time.Minute) //nolint:forbidigo // synctest
			l := Letter{Seq: 7, EventID: "msg_1", Key: "old", Endpoint: "a", Subject: "s", Source: "S/1", Generation: 2, Attempts: 9, LastStatus: 500, LastError: "x", Data: []byte("{}")}
			m, err := q.delivery(t.Context(), &l, state)
			if err != nil {
				t.Fatal(err)
			}
			env, err := wire.ReadEnvelope(m.Header)
			if err != nil || !env.Accepted.Equal(time.Now().Add(ahead)) {
				t.Errorf("%v ahead: accepted %v from now, %v", ahead, time.Until(env.Accepted), err)
			}
			if env.Attempt != 1 || env.Generation != 3 || env.Key == "old" || env.EventID != "msg_1" || env.LastStatus != 0 || env.LastError != "" || m.Header.Get(HeaderReason) != "" {
				t.Errorf("%+v", env)
			}
		})
	}
}

// A snapshot leaves out what is later than the letter up to which letters were counted.
func TestSnapshotIsFrozen(t *testing.T) {
	t.Parallel()
	q := &Queue{names: wire.NewNames(""), stream: skewed{last: 9}}
	for last, want := range map[uint64]uint64{0: 9, 5: 5, 9: 9, 12: 9} {
		state, err := q.snapshot(t.Context(), &Filter{Last: last})
		if err != nil || state.last != want || state.letters["a"] != 3 || state.letters["b"] != 2 {
			t.Errorf("up to %s: %+v, %v", strconv.FormatUint(last, 10), state, err)
		}
	}
}
