package broker

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"fanjet/internal/natstest"
)

// What the server says of each kind of right is understood, and reaches those who
// wait for an answer to just that question.
func TestRefusals(t *testing.T) {
	t.Parallel()
	srv := natstest.Start(t, natstest.Options{Listen: true, Adjust: func(o *server.Options) {
		o.Users = []*server.User{{Username: "u", Password: "p", Permissions: &server.Permissions{
			Publish:   &server.SubjectPermission{Allow: []string{"allowed.>"}},
			Subscribe: &server.SubjectPermission{Allow: []string{"_INBOX.>", "allowed.>"}},
		}}}
	}})
	var refusals Refusals
	heard := make(chan *RefusedError, 16)
	nc, err := Connect(t.Context(), Settings{URL: "nats://u:p@" + strings.TrimPrefix(srv.URL(), "nats://")}, ConnectOptions{
		NoWait: true, OnError: func(err error) {
			if r := RefusedBy(err); r != nil {
				refusals.Observe(r)
				heard <- r
			}
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	ctx, end := refusals.Watch(t.Context(), ".STREAM_A.")
	defer end()
	other, endOther := refusals.Watch(t.Context(), ".STREAM_B.")
	defer endOther()
	_, err = nc.RequestWithContext(ctx, "Refused.INFO.STREAM_A", nil)
	want := RefusedError{Subject: "Refused.INFO.STREAM_A"}
	if refused, ok := errors.AsType[*RefusedError](Cause(ctx, err)); !ok || *refused != want {
		t.Errorf("a request ends with %v", Cause(ctx, err))
	}
	if other.Err() != nil {
		t.Error("another question ended, too")
	}
	if got := <-heard; *got != want {
		t.Errorf("heard of %+v", got)
	}
	for _, subscribe := range []func() error{
		func() error { _, err := nc.SubscribeSync("Refused.sub.*"); return err },
		func() error { _, err := nc.QueueSubscribeSync("Refused.sub.*", "workers"); return err },
	} {
		if err := subscribe(); err != nil {
			t.Fatal(err)
		}
		if got := <-heard; *got != (RefusedError{Subject: "Refused.sub.*", Subscribe: true}) {
			t.Errorf("heard of %+v", got)
		}
	}
	expired, cancel := context.WithTimeout(t.Context(), time.Nanosecond)
	defer cancel()
	<-expired.Done()
	if err := Cause(expired, expired.Err()); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("a time-out is %v", err)
	}
	for _, err := range []error{nil, nats.ErrTimeout, nats.ErrPermissionViolation} {
		if r := RefusedBy(err); r != nil {
			t.Errorf("%v is about %+v", err, r)
		}
	}
}

// NATS refuses every acknowledgement by itself, each with a subject of its own. The log
// does not have a line for each; who listens hears of all.
func TestRefusalsHaveFewLines(t *testing.T) {
	t.Parallel()
	srv := natstest.Start(t, natstest.Options{Listen: true, Adjust: func(o *server.Options) {
		o.Users = []*server.User{{Username: "u", Password: "p", Permissions: &server.Permissions{
			Publish: &server.SubjectPermission{Deny: []string{"$JS.ACK.>"}},
		}}}
	}})
	const acks = 30
	heard := make(chan error, acks)
	core, logs := observer.New(zap.WarnLevel)
	nc, err := Connect(t.Context(), Settings{URL: "nats://u:p@" + strings.TrimPrefix(srv.URL(), "nats://")}, ConnectOptions{
		NoWait: true, Log: zap.New(core), OnError: func(err error) { heard <- err },
	})
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	for i := range acks {
		if err := nc.Publish(fmt.Sprint("$JS.ACK.S.c.", i), nil); err != nil {
			t.Fatal(err)
		}
	}
	for range acks {
		if err := <-heard; RefusedBy(err) == nil {
			t.Errorf("heard of %v", err)
		}
	}
	if n := logs.FilterMessage("NATS reported an error").Len(); n == 0 || n > 10 { // five a minute
		t.Errorf("%d lines", n)
	}
}
