package gateway

import (
	"context"
	"encoding/json"
	"errors"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"fanjet/internal/control"
	"fanjet/internal/natstest"
	"fanjet/internal/wire"
	"fanjet/subscriber/endpoint"
	"fanjet/subscriber/outcome"

	"github.com/nats-io/nats.go"
	"go.uber.org/zap/zaptest"
)

// fakeEndpoints are the endpoints of a replica: "up", "down", "slow", which ends
// with its context, and "broken", which cannot be tried.
type fakeEndpoints struct {
	mu           sync.Mutex
	pings, lifts int
}

func (f *fakeEndpoints) Lift(name string) (*endpoint.Lifted, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	switch name {
	case "up":
		return nil, nil
	case "down":
		f.lifts++
		return &endpoint.Lifted{State: endpoint.StateOpen, Reason: "503", Until: time.Unix(int64(f.lifts), 0)}, nil
	default:
		return nil, errors.New("no such name")
	}
}

func (f *fakeEndpoints) Statuses() []endpoint.Status {
	return []endpoint.Status{{Endpoint: "up", State: endpoint.StateHealthy, InFlight: 2}, {Endpoint: "down", State: endpoint.StateOpen, Reason: "503"}}
}

func (f *fakeEndpoints) Ping(ctx context.Context, endpoint string) (outcome.Result, error) {
	f.mu.Lock()
	f.pings++
	f.mu.Unlock()
	switch endpoint {
	case "up":
		return outcome.Result{Class: outcome.Class2xx, Status: 204, Took: 1500 * time.Microsecond}, nil
	case "down":
		err := &url.Error{Op: "Post", URL: "https://example.com/secret", Err: errors.New("connection refused")}
		return outcome.Result{Class: outcome.ClassConnect, Err: err}, nil
	case "slow":
		<-ctx.Done()
		return outcome.Result{Class: outcome.ClassTimeout, Err: context.Cause(ctx)}, nil
	default:
		return outcome.Result{}, errors.New("no such endpoint")
	}
}

// operate runs the control servers of so many replicas.
func operate(t *testing.T, replicas int) (*natstest.Server, *fakeEndpoints) {
	t.Helper()
	srv := natstest.Start(t, natstest.Options{})
	fake := &fakeEndpoints{}
	for range replicas {
		c := newControlServer(srv.Connect(), wire.NewNames(""), fake, "v1", zaptest.NewLogger(t))
		c.ready, c.overdue = func() error { return errors.New(strings.Repeat("ü", 2*maxNotReady)) }, func() time.Duration { return 90 * time.Second }
		c.refused, c.missed = func() error { return errors.New("fanjet.yaml:3:1: egres") }, func() uint64 { return 7 }
		c.listen()
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() { defer close(done); c.run(ctx) }()
		t.Cleanup(func() { cancel(); <-done })
	}
	return srv, fake
}

func TestControlStatuses(t *testing.T) {
	t.Parallel()
	srv, _ := operate(t, 2)
	ids := map[string]bool{}
	reports, gateways, err := control.Statuses(t.Context(), srv.Conn(), wire.NewNames(""))
	if err != nil || len(reports) != 2 || gateways.Known != 2 || gateways.Answered != 2 {
		t.Fatalf("Statuses() = %+v, %+v, %v, want 2 reports", reports, gateways, err)
	}
	for _, r := range reports {
		ids[r.ID] = true
		if len(r.Statuses) != 2 || r.Statuses[0].InFlight != 2 || r.Version != "v1" || r.Host == "" || r.Started.IsZero() {
			t.Errorf("report %+v", r)
		}
		if r.ConfigRefused != "fanjet.yaml:3:1: egres" || r.EventsMissed != 7 {
			t.Errorf("its configuration is refused for %q, and %d events were missed", r.ConfigRefused, r.EventsMissed)
		}
		if n := len(r.NotReady); n < maxNotReady/2 || n > maxNotReady+8 || !strings.HasPrefix(r.NotReady, "üü") || r.RetryOverdue != 90 {
			t.Errorf("it is not ready for %d bytes of reasons, %q, and a retry is overdue for %v s", n, r.NotReady, r.RetryOverdue)
		}
	}
	if len(ids) != 2 {
		t.Errorf("the replicas have the ids %v", ids)
	}
	reports, _, err = control.Statuses(t.Context(), srv.Conn(), wire.NewNames(""), "down", "unknown")
	if err != nil || len(reports) != 2 || len(reports[0].Statuses) != 1 || reports[0].Statuses[0].Endpoint != "down" {
		t.Errorf("Statuses(down, unknown) = %+v, %v", reports, err)
	}
}

func TestControlPing(t *testing.T) {
	t.Parallel()
	srv, fake := operate(t, 2)
	for endpoint, want := range map[string]control.PingAnswer{
		"up":   {Class: outcome.Class2xx, Status: 204, TookMS: 1.5},
		"down": {Class: outcome.ClassConnect, Error: "connect: connection refused", State: endpoint.StateOpen, Reason: "503"},
		"slow": {Class: outcome.ClassTimeout, Error: "timeout: context deadline exceeded"},
		"gone": {Error: "no such endpoint"},
	} {
		got, err := control.Ping(t.Context(), srv.Conn(), wire.NewNames(""), endpoint, 50*time.Millisecond)
		want.Replica, want.Endpoint = got.Replica, endpoint
		if err != nil || got != want || got.Replica.ID == "" {
			t.Errorf("Ping(%s) = %+v, %v, want %+v", endpoint, got, err, want)
		}
	}
	if fake.mu.Lock(); fake.pings != 4 {
		t.Errorf("%d test events were sent, want 4: one replica sends each", fake.pings)
	}
	fake.mu.Unlock()
}

func TestControlLift(t *testing.T) {
	t.Parallel()
	srv, fake := operate(t, 2)
	for endpoint, want := range map[string]int{"up": 0, "down": 2, "gone": 0} {
		answers, _, err := control.Lift(t.Context(), srv.Conn(), wire.NewNames(""), endpoint)
		if err != nil || len(answers) != 2 || len(answers[0].Peers) != 2 {
			t.Fatalf("Lift(%s) = %+v, %v", endpoint, answers, err)
		}
		for _, a := range answers {
			if (a.Lifted != nil) != (want > 0) || (a.Error != "") != (endpoint == "gone") || a.Replica.ID == "" {
				t.Errorf("Lift(%s): %+v", endpoint, a)
			}
		}
	}
	if fake.lifts != 2 {
		t.Errorf("%d were lifted", fake.lifts)
	}
}

func TestControlBoundsPings(t *testing.T) {
	t.Parallel()
	srv, _ := operate(t, 1)
	answers := make(chan control.PingAnswer)
	ctx, cancel := context.WithCancel(t.Context())
	var asking sync.WaitGroup
	for range maxPings + 1 {
		asking.Go(func() {
			answer, err := control.Ping(ctx, srv.Conn(), wire.NewNames(""), "slow", time.Minute)
			if err == nil {
				answers <- answer
			}
		})
	}
	if got := <-answers; got.OK() || !strings.Contains(got.Error, "on their way already") {
		t.Errorf("one too many is answered %+v", got)
	}
	cancel()
	asking.Wait()
}

func TestControlIgnoresJunk(t *testing.T) {
	t.Parallel()
	srv, _ := operate(t, 1)
	names := wire.NewNames("")
	for _, subject := range []string{names.ControlEndpointsSubject(), names.ControlPingSubject("up"), names.ControlResumeSubject("up")} {
		for _, junk := range []string{"", "{", "[]"} {
			if err := srv.Conn().PublishRequest(subject, "nobody", []byte(junk)); err != nil {
				t.Fatal(err)
			}
		}
	}
	if answer, err := control.Ping(t.Context(), srv.Conn(), names, "up", time.Minute); err != nil || !answer.OK() {
		t.Errorf("after junk: Ping() = %+v, %v", answer, err)
	}
	if reports, _, err := control.Statuses(t.Context(), srv.Conn(), names); err != nil || len(reports) != 1 {
		t.Errorf("after junk: Statuses() = %+v, %v", reports, err)
	}
}

// What was said before a question counts in its answer, also when both wait to be read.
func TestAnswersKnowWhatWasSaidBefore(t *testing.T) {
	t.Parallel()
	srv := natstest.Start(t, natstest.Options{})
	nc, names := srv.Conn(), wire.NewNames("")
	c := newControlServer(srv.Connect(), names, &fakeEndpoints{}, "v1", zaptest.NewLogger(t))
	c.listen()
	const others = 100
	for i := range others {
		text, err := json.Marshal(control.Alive{Peer: control.Peer{ID: strconv.Itoa(i), Host: "h"}})
		if err == nil {
			err = nc.Publish(names.ControlAliveSubject(), text)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	for _, subject := range []string{names.ControlEndpointsSubject(), names.ControlResumeSubject("up")} {
		answers, err := nc.SubscribeSync(nc.NewInbox())
		if err == nil {
			err = nc.PublishRequest(subject, answers.Subject, []byte("{}"))
		}
		if err == nil {
			err = errors.Join(nc.Flush(), c.nc.Flush()) // now all of it waits
		}
		if err != nil {
			t.Fatal(err)
		}
		defer func() {
			var answer struct {
				Peers []control.Peer `json:"gateways"`
			}
			m, err := answers.NextMsg(time.Minute)
			if err == nil {
				err = json.Unmarshal(m.Data, &answer)
			}
			if err != nil || len(answer.Peers) != others+1 {
				t.Errorf("%s: %d gateways are known, want %d: %v", subject, len(answer.Peers), others+1, err)
			}
		}()
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { defer close(done); c.run(ctx) }()
	t.Cleanup(func() { cancel(); <-done })
}

// Gateways know each other from the moment on at which one is ready until it ends,
// also one that is killed, a little later.
func TestPresence(t *testing.T) {
	t.Parallel()
	srv := natstest.Start(t, natstest.Options{})
	names := wire.NewNames("")
	var stops []func()
	for range 3 {
		c := newControlServer(srv.Connect(), names, &fakeEndpoints{}, "v1", zaptest.NewLogger(t))
		c.listen()
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() { defer close(done); c.run(ctx) }()
		stops = append(stops, func() { cancel(); <-done })
	}
	ask := func(what string, known, answered int) {
		t.Helper()
		_, gateways, err := control.Statuses(t.Context(), srv.Conn(), names)
		if err != nil || gateways.Known != known || gateways.Answered != answered {
			t.Errorf("%s: %+v, %v, want %d of %d", what, gateways, err, answered, known)
		}
	}
	ask("all", 3, 3)
	stops[0]()
	ask("one has ended", 2, 2)
	hanging, err := json.Marshal(control.Alive{Peer: control.Peer{ID: "hangs", Host: "h"}})
	if err != nil {
		t.Fatal(err)
	}
	if err := srv.Conn().Publish(names.ControlAliveSubject(), hanging); err != nil {
		t.Fatal(err)
	}
	ask("one hangs", 3, 2)
	stops[1]()
	stops[2]()
	// What was not heard for a while is gone.
	synctest.Test(t, func(t *testing.T) {
		p := newPresence(nil, names, control.Replica{ID: "self"})
		p.hear(&nats.Msg{Data: hanging})
		if n := len(p.known()); n != 2 {
			t.Errorf("%d are known, want 2", n)
		}
		<-time.After(aliveFor + time.Second)
		if n := len(p.known()); n != 1 {
			t.Errorf("%d are known after it was not heard of, want 1", n)
		}
		for _, junk := range []string{"", "{", `{"id": ""}`, `{"id": "self"}`} {
			if p.hear(&nats.Msg{Data: []byte(junk)}); len(p.known()) != 1 {
				t.Errorf("%s made somebody known", junk)
			}
		}
	})
}
