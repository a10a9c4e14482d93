package main

import (
	"fmt"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/rogpeppe/go-internal/testscript"

	"fanjet/dlq"
	"fanjet/internal/natstest"
	"fanjet/internal/wire"
)

// TestDLQScripts runs testdata/dlq: the commands, in this process, against a
// NATS server of each script's own. $NATS is its URL. Besides the usual ones,
// a script has these commands:
//
//	fanjet ARG…                         run fanjet
//	code N                              the last fanjet ended with the exit code N
//	streams                             create the streams
//	letters N ENDPOINT REASON SUBJECT BODY [HEADER=VALUE…]   store N letters
//	drop STREAM                         delete a stream
//	left N                              the queue holds N letters
//	delivered N                         N deliveries were made
//	pause ENDPOINT JSON                 store a pause, in a state bucket that is made for it
//	answer ID FILE                      answer as a gateway, as in TestEndpointsScripts
//	spawn, interrupt, hangup            run fanjet in a process of its own, as in TestScript
//	some                                wait until a delivery was made
func TestDLQScripts(t *testing.T) {
	t.Parallel()
	scripts, err := filepath.Glob("testdata/dlq/*.txtar")
	if err != nil || len(scripts) == 0 {
		t.Fatalf("no scripts: %v", err)
	}
	programs := programFolder(t)
	for _, script := range scripts {
		t.Run(filepath.Base(script), func(t *testing.T) {
			t.Parallel()
			s := &dlqScript{t: t, srv: natstest.Start(t, natstest.Options{Listen: true}), names: wire.NewNames("")}
			testscript.Run(t, testscript.Params{
				Files: []string{script},
				Setup: func(env *testscript.Env) error {
					env.Setenv("NATS", s.srv.URL())
					env.Setenv("GORACE", "atexit_sleep_ms=10")
					env.Values[programsKey] = programs
					env.Values[processesKey] = map[string]*process{}
					return nil
				},
				Cmds: map[string]func(*testscript.TestScript, bool, []string){
					"fanjet":    s.fanjet,
					"code":      s.checkCode,
					"streams":   s.createStreams,
					"letters":   s.putLetters,
					"drop":      s.drop,
					"pause":     s.pauseAnew,
					"answer":    s.answer,
					"spawn":     cmdSpawn,
					"interrupt": cmdInterrupt,
					"hangup":    cmdHangup,
					"some":      s.some,
					"left":      s.expectMessages(s.names.DeadLettersStream()),
					"delivered": s.expectMessages(s.names.DeliveriesStream()),
				},
			})
		})
	}
}

type dlqScript struct {
	t     *testing.T
	srv   *natstest.Server
	names wire.Names
	code  int // of the last fanjet
	put   int // letters stored
}

func (s *dlqScript) fanjet(ts *testscript.TestScript, neg bool, args []string) {
	s.code = run(s.t.Context(), args, streams{in: strings.NewReader(""), out: ts.Stdout(), err: ts.Stderr()})
	if neg == (s.code == exitOK) {
		ts.Fatalf("fanjet ended with %d", s.code)
	}
}

func (s *dlqScript) checkCode(ts *testscript.TestScript, _ bool, args []string) {
	if got := strconv.Itoa(s.code); got != args[0] {
		ts.Fatalf("fanjet ended with %s, want %s", got, args[0])
	}
}

func (s *dlqScript) createStreams(ts *testscript.TestScript, _ bool, _ []string) {
	for name, subject := range map[string]string{
		s.names.DeadLettersStream(): s.names.DeadLetterSubject("*"),
		s.names.DeliveriesStream():  s.names.DeliverSubject("*"),
	} {
		_, err := s.srv.JetStream().CreateStream(s.t.Context(), jetstream.StreamConfig{
			Name: name, Subjects: []string{subject}, Discard: jetstream.DiscardNew,
			Duplicates: 10 * time.Minute, AllowDirect: true, AllowAtomicPublish: true,
		})
		ts.Check(err)
	}
	_, err := s.srv.JetStream().CreateStream(s.t.Context(), auditStream(s.names))
	ts.Check(err)
}

func (s *dlqScript) drop(ts *testscript.TestScript, _ bool, args []string) {
	ts.Check(s.srv.JetStream().DeleteStream(s.t.Context(), args[0]))
}

// some waits until a delivery was made.
func (s *dlqScript) some(ts *testscript.TestScript, _ bool, _ []string) {
	stream, err := s.srv.JetStream().Stream(s.t.Context(), s.names.DeliveriesStream())
	ts.Check(err)
	for deadline := time.After(startTimeout); ; {
		info, err := stream.Info(s.t.Context())
		ts.Check(err)
		if info.State.Msgs > 0 {
			return
		}
		select {
		case <-deadline:
			ts.Fatalf("no delivery is made")
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// pauseAnew makes the state bucket before it stores a pause.
func (s *dlqScript) pauseAnew(ts *testscript.TestScript, neg bool, args []string) {
	_, err := s.srv.JetStream().CreateOrUpdateKeyValue(s.t.Context(), jetstream.KeyValueConfig{Bucket: s.names.StateBucket()})
	ts.Check(err)
	s.pause(ts, neg, args)
}

// auditStream is the record of what operators did, as far as commands go.
func auditStream(names wire.Names) jetstream.StreamConfig {
	return jetstream.StreamConfig{Name: names.AuditStream(), Subjects: []string{names.AuditSubject("*", "*")}, AllowDirect: true, DenyDelete: true}
}

func (s *dlqScript) putLetters(ts *testscript.TestScript, _ bool, args []string) {
	n, err := strconv.Atoi(args[0])
	ts.Check(err)
	headers := nats.Header{}
	for _, pair := range args[5:] {
		name, value, _ := strings.Cut(pair, "=")
		headers[name] = append(headers[name], value)
	}
	js := s.srv.JetStream()
	acks := make([]jetstream.PubAckFuture, n)
	for i := range acks {
		s.put++
		env := wire.Envelope{
			EventID:      fmt.Sprintf("msg_%d", s.put),
			Key:          fmt.Sprintf("key-%d", s.put),
			Endpoint:     args[1],
			Subject:      args[3],
			Source:       fmt.Sprintf("EVENTS/%d", s.put),
			Accepted:     time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC),
			Attempt:      3,
			FirstAttempt: time.Date(2026, 3, 1, 12, 0, 1, 0, time.UTC),
			LastAttempt:  time.Date(2026, 3, 1, 12, 0, 9, 0, time.UTC),
			LastStatus:   500,
			LastError:    "500 Internal Server Error",
		}
		m := dlq.NewMessage(s.names, env, dlq.Reason(args[2]), 2, headers, []byte(args[4]), fmt.Sprintf("FANJET_RETRIES/%d/1", s.put))
		acks[i], err = js.PublishMsgAsync(m)
		ts.Check(err)
	}
	for _, ack := range acks {
		select {
		case <-ack.Ok():
		case err := <-ack.Err():
			ts.Check(err)
		}
	}
}

func (s *dlqScript) expectMessages(stream string) func(*testscript.TestScript, bool, []string) {
	return func(ts *testscript.TestScript, _ bool, args []string) {
		st, err := s.srv.JetStream().Stream(s.t.Context(), stream)
		ts.Check(err)
		if got := strconv.FormatUint(st.CachedInfo().State.Msgs, 10); got != args[0] {
			ts.Fatalf("the stream %s holds %s messages, want %s", stream, got, args[0])
		}
	}
}
