package chaos

import (
	"context"
	"fmt"
	"maps"
	"strings"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"fanjet/internal/ledger"
)

// stillness is the state of NATS when nothing is under way.
type stillness struct {
	still bool
	why   string            // it is not
	last  map[string]uint64 // the last sequence of every stream
}

// quiet waits until nothing is under way in NATS any more: no event and no
// delivery waits, and none moved between two looks. What moves from one stream
// to another while they are looked at changes a sequence.
func (w *world) quiet(url string) {
	w.Helper()
	nc := w.operator(url)
	defer nc.Close()
	js, err := jetstream.New(nc)
	if err != nil {
		w.Fatal(err)
	}
	deadline := time.Now().Add(patience)
	var before stillness
	for {
		now := w.look(js)
		if now.still && before.still && maps.Equal(now.last, before.last) {
			return
		}
		if before = now; time.Now().After(deadline) {
			report := w.ledger.Check(ledger.Standing{Dead: w.gateways[0].letters()})
			w.Fatalf("it does not come to rest: %s\n%s", now.why, &report)
		}
		w.pause(150 * time.Millisecond)
	}
}

// look asks for the state of all streams and their consumers.
func (w *world) look(js jetstream.JetStream) stillness {
	ctx, cancel := context.WithTimeout(w.Context(), 10*time.Second)
	defer cancel()
	s := stillness{last: map[string]uint64{}}
	streams := js.ListStreams(ctx)
	for info := range streams.Info() { // to the end, as below
		name := info.Config.Name
		if s.why != "" || strings.HasPrefix(name, "KV_") || strings.HasSuffix(name, "_DLQ") {
			continue
		}
		s.last[name] = info.State.LastSeq
		if strings.HasSuffix(name, "_RETRIES") && info.State.Msgs > 0 {
			s.why = fmt.Sprintf("%s holds %d: %s", name, info.State.Msgs, describe(ctx, js, info))
			continue
		}
		s.why = waiting(ctx, js, info)
	}
	if err := streams.Err(); err != nil {
		s.why = err.Error()
	}
	s.still = s.why == "" && len(s.last) > 1
	return s
}

// waiting says what a consumer of a stream has not settled; empty: nothing.
func waiting(ctx context.Context, js jetstream.JetStream, info *jetstream.StreamInfo) string {
	stream, err := js.Stream(ctx, info.Config.Name)
	if err != nil {
		return err.Error()
	}
	consumers := stream.ListConsumers(ctx)
	served, why := uint64(0), ""
	for c := range consumers.Info() { // to the end, or the client leaves a goroutine behind
		if c.NumPending > 0 || c.NumAckPending > 0 {
			why = fmt.Sprintf("%s %s: %d wait, %d are under way", c.Stream, c.Name, c.NumPending, c.NumAckPending)
		}
		served++
	}
	if err := consumers.Err(); err != nil {
		return err.Error()
	}
	if why != "" {
		return why
	}
	if lanes := info.State.NumSubjects; strings.HasSuffix(info.Config.Name, "_LANES") && lanes > served {
		return fmt.Sprintf("%d lanes hold something, %d are served", lanes, served)
	}
	return ""
}

// describe says what the first message of a stream is, and how its consumers are.
func describe(ctx context.Context, js jetstream.JetStream, info *jetstream.StreamInfo) string {
	stream, err := js.Stream(ctx, info.Config.Name)
	if err != nil {
		return err.Error()
	}
	var b strings.Builder
	if msg, err := stream.GetMsg(ctx, info.State.FirstSeq); err != nil {
		fmt.Fprintf(&b, "message %d: %v", info.State.FirstSeq, err)
	} else {
		fmt.Fprintf(&b, "message %d of %v on %s, %v", msg.Sequence, clockOf(msg.Time), msg.Subject, msg.Header)
	}
	for c := range stream.ListConsumers(ctx).Info() {
		fmt.Fprintf(&b, "; %s: delivered %d, floor %d, %d wait, %d under way, %d again", c.Name, c.Delivered.Stream, c.AckFloor.Stream, c.NumPending, c.NumAckPending, c.NumRedelivered)
	}
	return b.String()
}

func clockOf(t time.Time) string { return t.UTC().Format("15:04:05.000") }
