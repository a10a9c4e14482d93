package broker

import (
	"bufio"
	"encoding/json"
	"fmt"
	"maps"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"fanjet/internal/natstest"
	"fanjet/internal/secret"
)

// A producer, with or without credentials, gets events into the streams of the
// events and nothing anywhere else. Every attack is made as a client that the
// server lets in; afterwards nothing has changed, and nothing was seen.
func TestProducersCanOnlyPublishEvents(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name   string
		attack func(a *attacker)
		// refused: the server says so. What is not refused comes to nothing.
		refused bool
	}{
		// Publishing what only Fanjet may publish: it would be signed and sent.
		{"a delivery", publishes("fanjet.deliver.billing"), true},
		{"a due retry", publishes("fanjet.due.billing"), true},
		{"a schedule", publishes("fanjet.retry.billing.key"), true},
		{"a lane", publishes("fanjet.lane.billing"), true},
		{"a dead letter", publishes("fanjet.dlq.billing"), true},
		{"an entry of the audit", publishes("fanjet.audit.pause"), true},
		{"the control plane", publishes("fanjet.ctl.ping.billing"), true},
		{"the state bucket", publishes("$KV.fanjet-state.paused.billing"), true},
		{"another subject", publishes("other"), true},

		// The API of JetStream.
		{"account info", asks("$JS.API.INFO", ""), true},
		{"names of streams", asks("$JS.API.STREAM.NAMES", ""), true},
		{"stream info", asks("$JS.API.STREAM.INFO.EVENTS", ""), true},
		{"purge", asks("$JS.API.STREAM.PURGE.FANJET_DLQ", ""), true},
		{"delete a stream", asks("$JS.API.STREAM.DELETE.FANJET_DLQ", ""), true},
		{"create a stream", asks("$JS.API.STREAM.CREATE.MINE", `{"name":"MINE","subjects":["mine"]}`), true},
		{"update a stream", asks("$JS.API.STREAM.UPDATE.FANJET_DLQ", `{"name":"FANJET_DLQ","subjects":["fanjet.dlq.*"],"max_msgs":1}`), true},
		{"snapshot", asks("$JS.API.STREAM.SNAPSHOT.FANJET_DLQ", `{"deliver_subject":"_INBOX.x"}`), true},
		{"get a message", asks("$JS.API.STREAM.MSG.GET.EVENTS", `{"seq":1}`), true},
		{"delete a message", asks("$JS.API.STREAM.MSG.DELETE.FANJET_DLQ", `{"seq":1}`), true},
		{"direct get", asks("$JS.API.DIRECT.GET.FANJET_DLQ", `{"seq":1}`), true},
		{"direct get by subject", asks("$JS.API.DIRECT.GET.FANJET_DLQ.fanjet.dlq.billing", ""), true},
		{"create a consumer", asks("$JS.API.CONSUMER.CREATE.EVENTS.spy", `{"stream_name":"EVENTS","config":{"name":"spy","deliver_subject":"_INBOX.spy"}}`), true},
		{"delete a consumer", asks("$JS.API.CONSUMER.DELETE.FANJET_DELIVERIES.fanjet-deliver", ""), true},
		{"pull", asks("$JS.API.CONSUMER.MSG.NEXT.FANJET_DELIVERIES.fanjet-deliver", "1"), true},
		{"unpin", asks("$JS.API.CONSUMER.UNPIN.EVENTS.fanjet-match", `{"group":"g"}`), true},
		{"acknowledge for others", publishes("$JS.ACK.FANJET_DELIVERIES.fanjet-deliver.1.1.1.1.0"), true},
		{"the system account", asks("$SYS.REQ.SERVER.PING", ""), true},
		{"the own account", asks("$SYS.REQ.USER.INFO", ""), true},

		// Listening.
		{"listen to everything", listens(">"), true},
		{"listen to events", listens("events.>"), true},
		{"listen to deliveries", listens("fanjet.>"), true},
		{"listen to the state", listens("$KV.>"), true},
		{"listen to JetStream", listens("$JS.>"), true},
		{"listen to service replies", listens("_R_.>"), true},
		{"listen to the system", listens("$SYS.>"), true},
		{"listen to a subject with a wildcard before", listens("*.deliver.billing"), true},
		{"listen to the replies of others", listens("_INBOX.>"), false},
		{"listen to the replies of others in a queue group", func(a *attacker) { a.listen("_INBOX.>", "group") }, false},

		// The server answers on a subject that the producer chose.
		{"the reply is a delivery", repliesTo("fanjet.deliver.billing"), false},
		{"the reply is a dead letter", repliesTo("fanjet.dlq.billing"), false},
		{"the reply is the state bucket", repliesTo("$KV.fanjet-state.paused.billing"), false},
		{"the reply is a purge", repliesTo("$JS.API.STREAM.PURGE.FANJET_DLQ"), true},
		{"the reply is a pull", repliesTo("$JS.API.CONSUMER.MSG.NEXT.FANJET_DELIVERIES.fanjet-deliver"), true},
		{"the reply is a ping", repliesTo("fanjet.ctl.ping.billing"), false},
		{"the reply is an operator's inbox", repliesTo("_INBOX.operator.1"), false},
		{"the reply is another producer's inbox", repliesTo("_INBOX.producer.1"), false},
		{"the reply is the system account", repliesTo("$SYS.REQ.USER.INFO"), false},
		{"the reply is an acknowledgement", repliesTo("$JS.ACK.FANJET_DELIVERIES.fanjet-deliver.1.1.1.1.0"), true},
		{"the reply is a service reply", repliesTo("_R_.abcdef.ghijkl"), true},
		{"the reply is a gateway reply", repliesTo("_GR_.abcdef.ghijkl.fanjet.deliver.billing"), true},

		// Headers that speak to JetStream.
		{"roll up the stream", carries("Nats-Rollup", "all"), true},
		{"roll up a subject", carries("Nats-Rollup", "sub"), true},
		{"a schedule by header", carries("Nats-Schedule", "@at 2026-01-01T00:00:00Z", "Nats-Schedule-Target", "fanjet.deliver.billing"), true},
		{"a schedule that repeats", carries("Nats-Schedule", "@every 1s", "Nats-Schedule-Target", "events.b"), true},
		{"a time to live", carries("Nats-TTL", "1s"), true},
		{"a counter", carries("Nats-Incr", "1"), true},
		{"expects another stream", carries("Nats-Expected-Stream", "FANJET_DLQ"), true},
		{"expects another message", carries("Nats-Expected-Last-Sequence", "7"), true},
		{"an API level of the future", carries("Nats-Required-Api-Level", "999"), false},
		{"a batch that has no beginning", carries("Nats-Batch-Id", "b", "Nats-Batch-Sequence", "7", "Nats-Batch-Commit", "1"), true},
		{"trace to a delivery", carries("Nats-Trace-Dest", "fanjet.deliver.billing"), true},
		{"only trace to a delivery", carries("Nats-Trace-Dest", "fanjet.deliver.billing", "Nats-Trace-Only", "true"), true},
		{"pretend to be somebody", carries("Nats-Request-Info", `{"acc":"$G","user":"operator"}`), false},
		{"pretend to be a delivery", carries("Fanjet-Endpoint", "billing", "Fanjet-Key", "k", "Fanjet-Attempt", "1"), false},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			w := startVictim(t)
			before := w.snapshot()
			for _, as := range []string{"anonymous", "user"} {
				a := w.attacker(as)
				test.attack(a)
				a.settle()
				w.settle()
				if got := a.received(); len(got) > 0 {
					t.Errorf("%s: it saw %q", as, got)
				}
				if got := a.refusals(); (len(got) > 0) != test.refused {
					t.Errorf("%s: refusals %q, want some: %v", as, got, test.refused)
				}
				a.nc.Close()
			}
			if after := w.snapshot(); !maps.Equal(before, after) {
				t.Errorf("something has changed:\nbefore %v\nafter  %v", before, after)
			}
			if got := w.leaked(); len(got) > 0 {
				t.Errorf("others got %q", got)
			}
		})
	}
}

// victim is a server with streams as Fanjet has them, and clients that work.
type victim struct {
	*testing.T
	srv      *Server
	operator jetstream.JetStream
	producer jetstream.JetStream // another one than the attacker

	mu   sync.Mutex
	seen []string // what came to where the operator and the other producer listen
}

// victimStreams are streams and their subjects. A marker is published to each to
// know that all that came before it was stored.
var victimStreams = map[string]string{
	"FANJET_DELIVERIES": "fanjet.deliver.*", "FANJET_RETRIES": "fanjet.due.*", "FANJET_LANES": "fanjet.lane.*",
	"FANJET_DLQ": "fanjet.dlq.*", "FANJET_AUDIT": "fanjet.audit.>", "KV_fanjet-state": "$KV.fanjet-state.>",
}

const (
	attackUser     = "attacker"
	attackPassword = "a-long-enough-password"
)

func startVictim(t *testing.T) *victim {
	t.Helper()
	ctx := t.Context()
	w := &victim{T: t, srv: startEmbedded(t, Embedded{
		Listen: "127.0.0.1:-1", SyncInterval: time.Second, Subjects: []string{"events.>"}, Anonymous: true,
		Users: []User{{Name: attackUser, Role: Producer, Password: secret.New(attackPassword)}},
	})}
	w.operator = w.jetStream(connect(t, Settings{}, ConnectOptions{Server: w.srv}))
	_, err := w.operator.CreateStream(ctx, jetstream.StreamConfig{Name: "EVENTS", Subjects: []string{"events.>"}, AllowAtomicPublish: true, AllowDirect: true})
	if err != nil {
		t.Fatal(err)
	}
	for name, subject := range victimStreams {
		if _, err := w.operator.CreateStream(ctx, jetstream.StreamConfig{Name: name, Subjects: []string{subject}, AllowDirect: true}); err != nil {
			t.Fatal(err)
		}
		if _, err := w.operator.Publish(ctx, marker(subject), []byte("kept")); err != nil {
			t.Fatal(err)
		}
	}
	for stream, consumer := range map[string]string{"EVENTS": "fanjet-match", "FANJET_DELIVERIES": "fanjet-deliver"} {
		if _, err := w.operator.CreateConsumer(ctx, stream, jetstream.ConsumerConfig{Durable: consumer, AckPolicy: jetstream.AckExplicitPolicy}); err != nil {
			t.Fatal(err)
		}
	}
	other, err := nats.Connect(w.srv.URL())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(other.Close)
	w.producer = w.jetStream(other)
	w.eavesdrop(w.operator.Conn(), "_INBOX.operator.*")
	w.eavesdrop(w.operator.Conn(), "fanjet.ctl.>")
	w.eavesdrop(other, "_INBOX.producer.*")
	return w
}

// marker is a subject of those that a pattern matches.
func marker(pattern string) string {
	return strings.NewReplacer("*", "marker", ">", "marker").Replace(pattern)
}

func (w *victim) jetStream(nc *nats.Conn) jetstream.JetStream {
	js, err := jetstream.New(nc)
	if err != nil {
		w.Fatal(err)
	}
	return js
}

func (w *victim) eavesdrop(nc *nats.Conn, subject string) {
	_, err := nc.Subscribe(subject, func(m *nats.Msg) {
		w.mu.Lock()
		defer w.mu.Unlock()
		w.seen = append(w.seen, fmt.Sprintf("%s: %s", m.Subject, m.Data))
	})
	if err == nil {
		err = nc.Flush()
	}
	if err != nil {
		w.Fatal(err)
	}
}

func (w *victim) leaked() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.seen
}

// settle waits until all that was sent before has been stored and delivered: an
// event of another producer, whose acknowledgement the attacker could see, then
// a message to every stream, and a request of the operator.
func (w *victim) settle() {
	w.Helper()
	if _, err := w.producer.Publish(w.Context(), "events.settle", []byte("settle")); err != nil {
		w.Fatalf("another producer can no longer publish: %v", err)
	}
	for _, subject := range victimStreams {
		if _, err := w.operator.Publish(w.Context(), marker(subject), []byte("settle")); err != nil {
			w.Fatal(err)
		}
	}
	for _, nc := range []*nats.Conn{w.operator.Conn(), w.producer.Conn()} {
		if err := nc.Flush(); err != nil {
			w.Fatal(err)
		}
	}
}

// snapshot is everything but the events themselves: the settings of streams and
// consumers, and what is stored, without markers.
func (w *victim) snapshot() map[string]string {
	w.Helper()
	ctx := w.Context()
	all := make(map[string]string)
	for info := range w.operator.ListStreams(ctx).Info() {
		all[info.Config.Name] = fmt.Sprintf("%+v", info.Config)
		if info.Config.Name == "EVENTS" {
			all["the first event"] = fmt.Sprint(max(info.State.FirstSeq, 1))
		}
		stream, err := w.operator.Stream(ctx, info.Config.Name)
		if err != nil {
			w.Fatal(err)
		}
		for sequence := info.State.FirstSeq; sequence <= info.State.LastSeq && sequence > 0 && info.Config.Name != "EVENTS"; sequence++ {
			m, err := stream.GetMsg(ctx, sequence)
			if err != nil {
				w.Fatalf("%s: message %d: %v", info.Config.Name, sequence, err)
			}
			if string(m.Data) != "settle" {
				all[fmt.Sprintf("%s/%d", info.Config.Name, sequence)] = fmt.Sprintf("%s %s %v", m.Subject, m.Data, m.Header)
			}
		}
		for c := range stream.ListConsumers(ctx).Info() {
			all[info.Config.Name+" "+c.Name] = fmt.Sprintf("%+v, floor %d, delivered %d, waiting %d",
				c.Config, c.AckFloor.Stream, c.Delivered.Stream, c.NumWaiting)
		}
	}
	return all
}

// attacker is a client of the server that has been let in.
type attacker struct {
	*testing.T
	nc   *nats.Conn
	last chan struct{} // gets a value when all refusals before it are known

	mu      sync.Mutex
	refused []string
	seen    []string
}

func (w *victim) attacker(as string) *attacker {
	w.Helper()
	a := &attacker{T: w.T, last: make(chan struct{}, 1)}
	opts := []nats.Option{nats.CustomInboxPrefix("_INBOX.attacker"), nats.ErrorHandler(func(_ *nats.Conn, _ *nats.Subscription, err error) {
		if strings.Contains(err.Error(), lastRefusal) {
			a.last <- struct{}{}
			return
		}
		a.mu.Lock()
		defer a.mu.Unlock()
		a.refused = append(a.refused, err.Error())
	})}
	if as == "user" {
		opts = append(opts, nats.UserInfo(attackUser, attackPassword))
	}
	var err error
	if a.nc, err = nats.Connect(w.srv.URL(), opts...); err != nil {
		w.Fatal(err)
	}
	w.Cleanup(a.nc.Close)
	return a
}

// settle waits until the server has dealt with all that the attacker sent, and
// the answers have come: an event is acknowledged after those before it.
func (a *attacker) settle() {
	a.Helper()
	if _, err := a.nc.Request("events.settle", nil, patience); err != nil {
		a.Fatalf("the client is cut off: %v", err)
	}
	handled := make(chan struct{})
	if err := a.nc.Barrier(func() { close(handled) }); err != nil {
		a.Fatal(err)
	}
	receive(a.T, handled)
	// Errors are handed out in order: this one is the last.
	a.send(&nats.Msg{Subject: lastRefusal})
	receive(a.T, a.last)
}

// lastRefusal is a subject that an attacker may not publish to either.
const lastRefusal = "refused.last"

func (a *attacker) refusals() []string {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.refused
}

// received is what came, but for answers to the attacker itself.
func (a *attacker) received() []string {
	a.mu.Lock()
	defer a.mu.Unlock()
	return slices.DeleteFunc(slices.Clone(a.seen), func(s string) bool { return strings.HasPrefix(s, "_INBOX.attacker.") })
}

func (a *attacker) listen(subject, queue string) {
	_, err := a.nc.QueueSubscribe(subject, queue, func(m *nats.Msg) {
		a.mu.Lock()
		defer a.mu.Unlock()
		a.seen = append(a.seen, fmt.Sprintf("%s: %s", m.Subject, m.Data))
	})
	if err == nil {
		err = a.nc.Flush()
	}
	if err != nil {
		a.Fatal(err)
	}
}

func (a *attacker) send(m *nats.Msg) {
	if err := a.nc.PublishMsg(m); err != nil {
		a.Fatal(err)
	}
}

func publishes(subject string) func(*attacker) {
	return func(a *attacker) { a.send(&nats.Msg{Subject: subject, Data: []byte("forged")}) }
}

// asks sends a request, and listens for the answer where it may.
func asks(subject, body string) func(*attacker) {
	return func(a *attacker) {
		a.listen("_INBOX.answer", "")
		a.send(&nats.Msg{Subject: subject, Reply: "_INBOX.answer", Data: []byte(body)})
	}
}

func listens(subject string) func(*attacker) {
	return func(a *attacker) { a.listen(subject, "") }
}

// repliesTo publishes an event whose acknowledgement the server sends elsewhere.
func repliesTo(reply string) func(*attacker) {
	return func(a *attacker) { a.send(&nats.Msg{Subject: "events.a", Reply: reply, Data: []byte("an event")}) }
}

// carries publishes an event with headers. When JetStream refuses it, that is
// taken down as a refusal.
func carries(headers ...string) func(*attacker) {
	return func(a *attacker) {
		m := &nats.Msg{Subject: "events.a", Data: []byte("5"), Header: nats.Header{}}
		for i := 0; i < len(headers); i += 2 {
			m.Header[headers[i]] = []string{headers[i+1]}
		}
		m.Reply = "_INBOX.attacker.acknowledgement"
		_, err := a.nc.Subscribe(m.Reply, func(m *nats.Msg) {
			var ack struct{ Error *jetstream.APIError }
			if err := json.Unmarshal(m.Data, &ack); err != nil || ack.Error != nil {
				a.mu.Lock()
				defer a.mu.Unlock()
				a.refused = append(a.refused, fmt.Sprintf("%v%v", err, ack.Error))
			}
		})
		if err != nil {
			a.Fatal(err)
		}
		a.send(m)
	}
}

// Why producers are not simply given few permissions in the account of the
// streams: the server sends the acknowledgement of an event to its reply
// subject, and into a stream, without asking who chose it.
func TestPermissionsAloneDoNotHold(t *testing.T) {
	t.Parallel()
	s := natstest.Start(t, natstest.Options{Adjust: func(o *server.Options) {
		o.Users = []*server.User{
			{Username: "operator", Password: "o"},
			{Username: "producer", Password: "p", Permissions: &server.Permissions{
				Publish:   &server.SubjectPermission{Allow: []string{"events.>"}},
				Subscribe: &server.SubjectPermission{Allow: []string{"_INBOX.>"}},
			}},
		}
	}})
	js, err := jetstream.New(s.Connect(nats.UserInfo("operator", "o")))
	if err != nil {
		t.Fatal(err)
	}
	for name, subject := range map[string]string{"EVENTS": "events.>", "FANJET_DELIVERIES": "fanjet.deliver.*"} {
		if _, err := js.CreateStream(t.Context(), jetstream.StreamConfig{Name: name, Subjects: []string{subject}}); err != nil {
			t.Fatal(err)
		}
	}
	forged, err := js.Conn().SubscribeSync("fanjet.deliver.billing")
	if err != nil {
		t.Fatal(err)
	}
	if err := js.Conn().Flush(); err != nil {
		t.Fatal(err)
	}
	producer := s.Connect(nats.UserInfo("producer", "p"))
	if err := producer.PublishMsg(&nats.Msg{Subject: "events.a", Reply: "fanjet.deliver.billing"}); err != nil {
		t.Fatal(err)
	}
	if _, err := forged.NextMsg(patience); err != nil {
		t.Errorf("the server has learnt to check replies, and accounts for producers can go: %v", err)
	}
}

// What is sent before or instead of a proper CONNECT gets nobody in.
func TestConnectIsChecked(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name, send string
		settings   Embedded
		want       string // what the server says
	}{
		{"nothing before CONNECT", "PUB fanjet.deliver.billing 1\r\nx\r\n", Embedded{Anonymous: true}, "Authorization Violation"},
		{"a subscription before CONNECT", "SUB > 1\r\n", Embedded{Anonymous: true}, "Authorization Violation"},
		{"another account", `CONNECT {"account":"$G"}` + "\r\nPING\r\n", Embedded{Anonymous: true}, "Authorization Violation"},
		{"a new account", `CONNECT {"account":"x","new_account":true}` + "\r\nPING\r\n", Embedded{Anonymous: true}, "Authorization Violation"},
		{"an unknown user", `CONNECT {"user":"operator","pass":"x"}` + "\r\nPING\r\n", Embedded{Anonymous: true}, "Authorization Violation"},
		{"a token", `CONNECT {"auth_token":"x"}` + "\r\nPING\r\n", Embedded{Anonymous: true}, "Authorization Violation"},
		{"a key without a signature", `CONNECT {"nkey":"OPERATOR"}` + "\r\nPING\r\n", Embedded{Anonymous: true}, "Authorization Violation"},
		{"a key with a wrong signature", `CONNECT {"nkey":"OPERATOR","sig":"AAAA"}` + "\r\nPING\r\n", Embedded{Anonymous: true}, "Authorization Violation"},
		{"nobody without credentials", "CONNECT {}\r\nPING\r\n", Embedded{}, "Authorization Violation"},
		{"anonymous, where that is allowed", "CONNECT {}\r\nPING\r\n", Embedded{Anonymous: true}, "PONG"},
		{"a second CONNECT", "CONNECT {}\r\nCONNECT {\"user\":\"operator\"}\r\nPING\r\n", Embedded{Anonymous: true}, "Authorization Violation"},
		{"a second CONNECT that asks for nothing", "CONNECT {}\r\nCONNECT {}\r\nSUB fanjet.> 1\r\nPING\r\n", Embedded{Anonymous: true}, "Permissions Violation"},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			test.settings.Listen, test.settings.Subjects = "127.0.0.1:-1", []string{"events.>"}
			s := startEmbedded(t, test.settings)
			public, err := s.key.PublicKey()
			if err != nil {
				t.Fatal(err)
			}
			conn, err := net.Dial("tcp", s.Addr())
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			lines := bufio.NewScanner(conn)
			if !lines.Scan() || !strings.HasPrefix(lines.Text(), "INFO ") {
				t.Fatalf("no INFO: %q", lines.Text())
			}
			if _, err := fmt.Fprint(conn, strings.ReplaceAll(test.send, "OPERATOR", public)); err != nil {
				t.Fatal(err)
			}
			// The line that matters is the first that is not INFO or PING.
			for lines.Scan() {
				if line := lines.Text(); !strings.HasPrefix(line, "INFO ") && line != "PING" && line != "+OK" {
					if !strings.Contains(line, test.want) {
						t.Errorf("the server says %q, want %q", line, test.want)
					}
					return
				}
			}
			t.Errorf("the server says nothing: %v", lines.Err())
		})
	}
}
