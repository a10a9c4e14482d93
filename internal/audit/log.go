package audit

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"fanjet/internal/broker"
	"fanjet/internal/wire"
)

const (
	// writeTimeout bounds the wait for NATS to store a record: an act must not
	// hang because of it.
	writeTimeout = 5 * time.Second
	// maxText bounds every text of a record, in bytes.
	maxText = 1 << 10
)

// ErrNotStored means that what was done, or is to be done, could not be recorded.
var ErrNotStored = errors.New("the audit record cannot be stored")

// Log is the record of one installation. It may be used concurrently.
type Log struct {
	js       jetstream.JetStream
	names    wire.Names
	refusals *broker.Refusals // optional
}

// New returns the record of an installation, without looking for its stream.
// Only the gateway creates that.
func New(js jetstream.JetStream, names wire.Names) *Log { return &Log{js: js, names: names} }

// Watching returns the same record for a connection that tells refusals of what NATS
// refuses: then it is not waited for.
func (l *Log) Watching(refusals *broker.Refusals) *Log {
	watching := *l
	watching.refusals = refusals
	return &watching
}

// Write stores a record and waits until NATS has it, also when ctx has ended:
// what was done is recorded. It takes 5 s at most.
func (l *Log) Write(ctx context.Context, by Actor, r Record) error {
	r.Seq, r.Time, r.Via, r.Actor = 0, time.Time{}, "", by
	for _, text := range []*string{&r.Actor.Name, &r.Actor.Host, &r.Target, &r.Detail, &r.Reason, &r.Result} {
		*text = bounded(*text)
	}
	data, err := json.Marshal(r)
	if err != nil {
		return fmt.Errorf("the record of what was done cannot be written: %w", err)
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), writeTimeout)
	defer cancel()
	if l.refusals != nil {
		var end func()
		ctx, end = l.refusals.Watch(ctx, l.names.AuditSubject(string(by.Via), string(r.Action))+".")
		defer end()
	}
	m := &nats.Msg{Subject: l.names.AuditSubject(string(by.Via), string(r.Action)), Data: data}
	_, err = l.js.PublishMsg(ctx, m, jetstream.WithExpectStream(l.names.AuditStream()), jetstream.WithMsgID(rand.Text()))
	switch {
	case errors.Is(err, jetstream.ErrNoStreamResponse):
		return fmt.Errorf("%w: the stream %s does not exist; a gateway creates it when it starts", ErrNotStored, l.names.AuditStream())
	case err != nil:
		return fmt.Errorf("%w in the stream %s: %w", ErrNotStored, l.names.AuditStream(), broker.Cause(ctx, err))
	}
	return nil
}

// bounded cuts a text that is too long.
func bounded(text string) string {
	if len(text) <= maxText {
		return text
	}
	return strings.ToValidUTF8(text[:maxText], "") + "…"
}
