package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strconv"
	"testing"

	"fanjet/internal/control"
	"fanjet/internal/natstest"
	"fanjet/internal/wire"
	"fanjet/subscriber/endpoint"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/rogpeppe/go-internal/testscript"
)

// TestEndpointsScripts runs testdata/endpoints: the commands, in this process,
// against a NATS server of each script's own, without a gateway. $NATS is its
// URL. Besides the usual ones, a script has these commands:
//
//	fanjet ARG…           run fanjet
//	code N                the last fanjet ended with the exit code N
//	streams               create the streams and the state bucket
//	put N SUBJECT         store N messages on a subject
//	state KEY             print an entry of the state bucket; fails if there is none
//	pause ENDPOINT JSON   store a pause
//	answer ID FILE [PEER…] from now on, answer as a gateway whose endpoints do as FILE says,
//	                      and that knows the gateways PEER, itself included
//	lift ID JSON [PEER…]  from now on, answer as a gateway that lifts that of every endpoint, once
func TestEndpointsScripts(t *testing.T) {
	t.Parallel()
	scripts, err := filepath.Glob("testdata/endpoints/*.txtar")
	if err != nil || len(scripts) == 0 {
		t.Fatalf("no scripts: %v", err)
	}
	for _, script := range scripts {
		t.Run(filepath.Base(script), func(t *testing.T) {
			t.Parallel()
			s := &endpointsScript{dlqScript{t: t, srv: natstest.Start(t, natstest.Options{Listen: true}), names: wire.NewNames("")}}
			testscript.Run(t, testscript.Params{
				Files: []string{script},
				Setup: func(env *testscript.Env) error {
					env.Setenv("NATS", s.srv.URL())
					return nil
				},
				Cmds: map[string]func(*testscript.TestScript, bool, []string){
					"fanjet":  s.fanjet,
					"code":    s.checkCode,
					"streams": s.createStreams,
					"put":     s.put,
					"state":   s.state,
					"pause":   s.pause,
					"answer":  s.answer,
					"lift":    s.lift,
				},
			})
		})
	}
}

type endpointsScript struct{ dlqScript }

// fanjet runs fanjet in the folder of the script.
func (s *endpointsScript) fanjet(ts *testscript.TestScript, neg bool, args []string) {
	if file := ts.MkAbs("fanjet.yaml"); len(args) > 0 && (args[0] == "endpoints" || args[0] == "audit") {
		if _, err := os.Stat(file); err == nil {
			args = append(args, "--config", file)
		}
	}
	s.dlqScript.fanjet(ts, neg, args)
}

func (s *endpointsScript) createStreams(ts *testscript.TestScript, _ bool, _ []string) {
	js := s.srv.JetStream()
	for name, subjects := range map[string][]string{
		s.names.LanesStream():       {s.names.LaneSubject("*")},
		s.names.RetriesStream():     {s.names.RetrySubject("*", "*"), s.names.DueSubject("*")},
		s.names.DeadLettersStream(): {s.names.DeadLetterSubject("*")},
	} {
		_, err := js.CreateStream(s.t.Context(), jetstream.StreamConfig{Name: name, Subjects: subjects})
		ts.Check(err)
	}
	_, err := js.CreateStream(s.t.Context(), auditStream(s.names))
	ts.Check(err)
	_, err = js.CreateKeyValue(s.t.Context(), jetstream.KeyValueConfig{Bucket: s.names.StateBucket()})
	ts.Check(err)
}

func (s *endpointsScript) put(ts *testscript.TestScript, _ bool, args []string) {
	n, err := strconv.Atoi(args[0])
	ts.Check(err)
	header := nats.Header{wire.HeaderAccepted: {"2026-03-01T12:00:00Z"}}
	for range n {
		_, err := s.srv.JetStream().PublishMsg(s.t.Context(), &nats.Msg{Subject: args[1], Header: header})
		ts.Check(err)
	}
}

func (s *dlqScript) bucket(ts *testscript.TestScript) jetstream.KeyValue {
	kv, err := s.srv.JetStream().KeyValue(s.t.Context(), s.names.StateBucket())
	ts.Check(err)
	return kv
}

func (s *dlqScript) state(ts *testscript.TestScript, neg bool, args []string) {
	entry, err := s.bucket(ts).Get(s.t.Context(), args[0])
	if neg {
		if err == nil {
			ts.Fatalf("the state bucket has %s: %s", args[0], entry.Value())
		}
		return
	}
	ts.Check(err)
	_, err = ts.Stdout().Write(entry.Value())
	ts.Check(err)
}

func (s *dlqScript) pause(ts *testscript.TestScript, _ bool, args []string) {
	_, err := s.bucket(ts).PutString(s.t.Context(), "paused."+args[0], args[1])
	ts.Check(err)
}

func (s *dlqScript) answer(ts *testscript.TestScript, _ bool, args []string) {
	var statuses []endpoint.Status
	ts.Check(json.Unmarshal([]byte(ts.ReadFile(args[1])), &statuses))
	nc := s.srv.Connect()
	_, err := nc.Subscribe(s.names.ControlEndpointsSubject(), func(m *nats.Msg) {
		parts, err := control.Parts(control.Replica{ID: args[0], Host: "host-" + args[0], Version: "v1"}, statuses, nc.MaxPayload(), peersOf(args[2:])...)
		if err != nil {
			s.t.Error(err)
		}
		for _, p := range parts {
			if err := m.Respond(p); err != nil {
				s.t.Error(err)
			}
		}
	})
	ts.Check(err)
	ts.Check(nc.Flush())
}

func peersOf(ids []string) (peers []control.Peer) {
	for _, id := range ids {
		peers = append(peers, control.Peer{ID: id, Host: "host-" + id})
	}
	return peers
}

func (s *endpointsScript) lift(ts *testscript.TestScript, _ bool, args []string) {
	answer := control.LiftAnswer{Replica: control.Replica{ID: args[0]}, Peers: peersOf(args[2:])}
	ts.Check(json.Unmarshal([]byte(args[1]), &answer.Lifted))
	nc := s.srv.Connect()
	_, err := nc.Subscribe(s.names.ControlResumeSubject("*"), func(m *nats.Msg) {
		data, err := json.Marshal(answer)
		if err == nil {
			err = m.Respond(data)
		}
		if err != nil {
			s.t.Error(err)
		}
		answer.Lifted = nil
	})
	ts.Check(err)
	ts.Check(nc.Flush())
}
