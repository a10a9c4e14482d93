package control

import (
	"context"
	"encoding/json"
	"errors"
	"strings"
	"sync"
	"testing"
	"time"

	"fanjet/internal/natstest"
	"fanjet/internal/wire"
	"fanjet/subscriber/endpoint"

	"github.com/nats-io/nats.go"
)

var names = wire.NewNames("")

// gateway answers as one does, from a connection of its own.
func gateway(t *testing.T, srv *natstest.Server, id string, statuses []endpoint.Status) {
	t.Helper()
	nc := srv.Connect()
	_, err := nc.Subscribe(names.ControlEndpointsSubject(), func(m *nats.Msg) {
		parts, err := Parts(Replica{ID: id, Host: "host-" + id}, statuses, 8<<10)
		if err != nil {
			t.Error(err)
		}
		for _, p := range parts {
			if err := m.Respond(p); err != nil {
				t.Error(err)
			}
		}
	})
	if err == nil {
		err = nc.Flush()
	}
	if err != nil {
		t.Fatal(err)
	}
}

func TestStatuses(t *testing.T) {
	t.Parallel()
	srv := natstest.Start(t, natstest.Options{})
	gateway(t, srv, "one", statusesOf(1000))
	gateway(t, srv, "two", nil)
	reports, _, err := Statuses(t.Context(), srv.Conn(), names)
	if err != nil || len(reports) != 2 {
		t.Fatalf("Statuses() = %d reports, %v, want 2", len(reports), err)
	}
	for _, r := range reports {
		if want := map[string]int{"one": 1000, "two": 0}[r.ID]; len(r.Statuses) != want || r.Host != "host-"+r.ID {
			t.Errorf("%s on %s reports %d endpoints, want %d", r.ID, r.Host, len(r.Statuses), want)
		}
	}
}

func TestNobodyAnswers(t *testing.T) {
	t.Parallel()
	srv := natstest.Start(t, natstest.Options{})
	_, _, err := Statuses(t.Context(), srv.Conn(), names)
	if !errors.Is(err, ErrNoGateway) || !strings.Contains(err.Error(), "fanjet.ctl.endpoints; is `fanjet serve` running?") {
		t.Errorf("Statuses() = %v", err)
	}
	_, err = Ping(t.Context(), srv.Conn(), names, "billing", time.Minute)
	if !errors.Is(err, ErrNoGateway) || !strings.Contains(err.Error(), "fanjet.ctl.ping.billing") {
		t.Errorf("Ping() = %v", err)
	}
}

func TestSilentGateway(t *testing.T) {
	t.Parallel()
	srv := natstest.Start(t, natstest.Options{})
	for _, subject := range []string{names.ControlEndpointsSubject(), names.ControlPingSubject("*")} {
		if _, err := srv.Conn().SubscribeSync(subject); err != nil {
			t.Fatal(err)
		}
	}
	if _, _, err := Statuses(t.Context(), srv.Connect(), names); !errors.Is(err, ErrNoGateway) {
		t.Errorf("Statuses() = %v", err)
	}
	if _, err := Ping(t.Context(), srv.Connect(), names, "billing", time.Millisecond); !errors.Is(err, ErrNoGateway) {
		t.Errorf("Ping() = %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, _, err := Statuses(ctx, srv.Connect(), names); !errors.Is(err, context.Canceled) {
		t.Errorf("Statuses() = %v", err)
	}
	if _, err := Ping(ctx, srv.Connect(), names, "billing", time.Minute); !errors.Is(err, context.Canceled) {
		t.Errorf("Ping() = %v", err)
	}
}

func TestPing(t *testing.T) {
	t.Parallel()
	srv := natstest.Start(t, natstest.Options{})
	_, err := srv.Conn().Subscribe(names.ControlPingSubject("*"), func(m *nats.Msg) {
		var request PingRequest
		if err := json.Unmarshal(m.Data, &request); err != nil || request.Timeout != time.Minute {
			t.Errorf("request %s: %v", m.Data, err)
		}
		if err := m.Respond([]byte(`{"endpoint": "billing", "class": "2xx", "status": 204, "took_ms": 1.5}`)); err != nil {
			t.Error(err)
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	answer, err := Ping(t.Context(), srv.Conn(), names, "billing", time.Minute)
	if err != nil || answer.Status != 204 || !answer.OK() {
		t.Errorf("Ping() = %+v, %v", answer, err)
	}
}

// A gateway that lives and does not answer is named, and one that answers late is
// waited for.
func TestStatusesKnowWhoIsMissing(t *testing.T) {
	t.Parallel()
	srv := natstest.Start(t, natstest.Options{})
	one, two, three := Peer{"one", "host-a"}, Peer{"two", "host-b"}, Peer{"three", "host-c"}
	answer := func(p Peer, knows ...Peer) (held chan *nats.Msg) {
		held = make(chan *nats.Msg, 1)
		nc := srv.Connect()
		_, err := nc.Subscribe(names.ControlEndpointsSubject(), func(m *nats.Msg) {
			if p == two {
				held <- m
				return
			}
			respond(t, m, p, knows...)
		})
		if err != nil || nc.Flush() != nil {
			t.Fatal(err)
		}
		return held
	}
	answer(one, one, two)
	held := answer(two)
	answer(three, two, three)
	_, gateways, err := Statuses(t.Context(), srv.Conn(), names)
	if want := "2 of 3 gateways answered; not two on host-b"; err != nil || gateways.String() != want || gateways.Known != 3 {
		t.Errorf("Statuses() = %+v, %v, want %s", gateways, err, want)
	}
	<-held
	var asking sync.WaitGroup
	asking.Go(func() {
		reports, gateways, err := Statuses(t.Context(), srv.Conn(), names)
		if err != nil || gateways.String() != "" || gateways.Known != 3 || len(reports) != 3 {
			t.Errorf("with one that is late: Statuses() = %d reports, %+v, %v", len(reports), gateways, err)
		}
	})
	late := <-held
	timer := time.NewTimer(2 * quiet)
	<-timer.C
	respond(t, late, two, one, two, three)
	asking.Wait()
}

func respond(t *testing.T, m *nats.Msg, p Peer, knows ...Peer) {
	t.Helper()
	parts, err := Parts(Replica{ID: p.ID, Host: p.Host}, statusesOf(100), 8<<10, knows...)
	if err != nil {
		t.Error(err)
	}
	for _, part := range parts {
		if err := m.Respond(part); err != nil {
			t.Error(err)
		}
	}
}
