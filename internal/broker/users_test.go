package broker

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/nats-io/nkeys"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"
	"golang.org/x/crypto/bcrypt"

	"fanjet/internal/secret"
)

func TestUsers(t *testing.T) {
	t.Parallel()
	hash, err := bcrypt.GenerateFromPassword([]byte("the-hashed-password"), bcrypt.MinCost)
	if err != nil {
		t.Fatal(err)
	}
	producer, operator, stranger := newKey(t), newKey(t), newKey(t)
	s := startEmbedded(t, Embedded{
		Listen: "127.0.0.1:-1", Subjects: []string{"events.>", "push.*"},
		Users: []User{
			{Name: "all", Role: Producer, Password: secret.New("the-plain-password")},
			{Name: "some", Role: Producer, Password: secret.New(string(hash)), Publish: []string{"events.orders.>"}},
			{Name: "key", Role: Producer, Nkey: public(t, producer)},
			{Name: "ops", Role: Operator, Nkey: public(t, operator)},
			{Name: "boss", Role: Operator, Password: secret.New("the-boss-password")},
		},
	})
	js, err := jetstream.New(connect(t, Settings{}, ConnectOptions{Server: s}))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := js.CreateStream(t.Context(), jetstream.StreamConfig{Name: "EVENTS", Subjects: []string{"events.>", "push.*"}}); err != nil {
		t.Fatal(err)
	}
	all := []string{"events.orders.paid", "events.other", "push.one"}
	for _, test := range []struct {
		name     string
		option   nats.Option
		publish  []string // what is taken, of all; nil: the client is refused
		operates bool
	}{
		{"plain password", nats.UserInfo("all", "the-plain-password"), all, false},
		{"hashed password", nats.UserInfo("some", "the-hashed-password"), all[:1], false},
		{"key", keyOf(t, producer), all, false},
		{"operator by key", keyOf(t, operator), all, true},
		{"operator by password", nats.UserInfo("boss", "the-boss-password"), all, true},
		{"the operator's key", keyOf(t, s.key), all, true},
		{"wrong password", nats.UserInfo("all", "the-plain-passwore"), nil, false},
		{"wrong hashed password", nats.UserInfo("some", "the-plain-password"), nil, false},
		{"the hash is no password", nats.UserInfo("some", string(hash)), nil, false},
		{"no password", nats.UserInfo("all", ""), nil, false},
		{"no such user", nats.UserInfo("nobody", "the-plain-password"), nil, false},
		{"the name of a user with a key", nats.UserInfo("key", ""), nil, false},
		{"key of a stranger", keyOf(t, stranger), nil, false},
		{"key of a user, signed by a stranger", nats.Nkey(public(t, producer), stranger.Sign), nil, false},
		{"token", nats.Token("the-plain-password"), nil, false},
		{"nothing", nats.Name("x"), nil, false},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			nc, err := nats.Connect(s.URL(), test.option)
			if test.publish == nil {
				if !errors.Is(err, nats.ErrAuthorization) {
					t.Errorf("Connect = %v, want a refusal", err)
				}
				if nc != nil {
					nc.Close()
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			defer nc.Close()
			for _, subject := range all {
				want := false
				for _, allowed := range test.publish {
					want = want || allowed == subject
				}
				refused := make(chan error, 1)
				nc.SetErrorHandler(func(_ *nats.Conn, _ *nats.Subscription, err error) { refused <- err })
				inbox, err := nc.SubscribeSync(nats.NewInbox())
				if err != nil {
					t.Fatal(err)
				}
				if err := nc.PublishRequest(subject, inbox.Subject, nil); err != nil {
					t.Fatal(err)
				}
				if want {
					if _, err := inbox.NextMsg(patience); err != nil {
						t.Errorf("%s: no acknowledgement: %v", subject, err)
					}
				} else if err := receive(t, refused); !errors.Is(err, nats.ErrPermissionViolation) {
					t.Errorf("%s: %v, want a refusal", subject, err)
				}
			}
			if !test.operates {
				return
			}
			own, err := jetstream.New(nc)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := own.AccountInfo(t.Context()); err != nil {
				t.Errorf("an operator cannot ask JetStream: %v", err)
			}
		})
	}
}

// Producers with limited subjects cannot get around them by the reply subject
// of an event either.
func TestReplyDoesNotReachOtherSubjects(t *testing.T) {
	t.Parallel()
	s := startEmbedded(t, Embedded{
		Listen: "127.0.0.1:-1", Subjects: []string{"events.>"},
		Users: []User{{Name: "some", Role: Producer, Password: secret.New("the-password"), Publish: []string{"events.orders.>"}}},
	})
	js, err := jetstream.New(connect(t, Settings{}, ConnectOptions{Server: s}))
	if err != nil {
		t.Fatal(err)
	}
	stream, err := js.CreateStream(t.Context(), jetstream.StreamConfig{Name: "EVENTS", Subjects: []string{"events.>"}})
	if err != nil {
		t.Fatal(err)
	}
	nc, err := nats.Connect(s.URL(), nats.UserInfo("some", "the-password"))
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	if err := nc.PublishRequest("events.orders.a", "events.billing.forged", nil); err != nil {
		t.Fatal(err)
	}
	if _, err := nc.Request("events.orders.b", nil, patience); err != nil {
		t.Fatal(err)
	}
	if _, err := js.Publish(t.Context(), "events.end", nil); err != nil {
		t.Fatal(err)
	}
	info, err := stream.Info(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if info.State.Msgs != 3 {
		t.Errorf("the stream holds %d events, want 3", info.State.Msgs)
	}
}

// The accounts of producers are used again, and clients without credentials
// leave room for others.
func TestAccountsOfProducers(t *testing.T) {
	t.Parallel()
	srv := startEmbedded(t, Embedded{Listen: "127.0.0.1:-1", Subjects: []string{"events.>"}, Anonymous: true})
	accounts := srv.srv.NumLoadedAccounts()
	for range 20 {
		open := []*nats.Conn{}
		for range 3 {
			nc, err := nats.Connect(srv.URL())
			if err != nil {
				t.Fatal(err)
			}
			open = append(open, nc)
		}
		for _, nc := range open {
			nc.Close()
		}
		eventually(t, func() bool { return srv.srv.NumClients() == 0 })
	}
	if got := srv.srv.NumLoadedAccounts() - accounts; got != 3 {
		t.Errorf("60 connections, 3 at a time, have left %d accounts, want 3", got)
	}

	var open []*nats.Conn
	defer func() {
		for _, nc := range open {
			nc.Close()
		}
	}()
	for range maxAnonymous {
		nc, err := nats.Connect(srv.URL(), nats.Timeout(patience))
		if err != nil {
			t.Fatal(err)
		}
		open = append(open, nc)
	}
	connect(t, Settings{}, ConnectOptions{Server: srv})
}

// Clients without credentials that do nothing keep no other out: the one that has
// been idle for the longest makes room. Those that are at work stay.
func TestIdleProducersMakeRoom(t *testing.T) {
	t.Parallel()
	core, logs := observer.New(zap.WarnLevel)
	settings := Embedded{StoreDir: t.TempDir(), Listen: "127.0.0.1:-1", Subjects: []string{"events.>"}, Anonymous: true}
	srv, err := StartEmbedded(settings, zap.New(core))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(srv.Shutdown)
	js, err := jetstream.New(connect(t, Settings{}, ConnectOptions{Server: srv}))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := js.CreateStream(t.Context(), jetstream.StreamConfig{Name: "EVENTS", Subjects: []string{"events.>"}}); err != nil {
		t.Fatal(err)
	}
	producer := func() *nats.Conn {
		t.Helper()
		nc, err := nats.Connect(srv.URL(), nats.Timeout(patience), nats.NoReconnect())
		if err != nil {
			t.Fatalf("a producer is not let in: %v", err)
		}
		t.Cleanup(nc.Close)
		return nc
	}
	publishes := func(nc *nats.Conn) {
		t.Helper()
		m, err := nc.Request("events.x", []byte("{}"), patience)
		if err != nil || !strings.Contains(string(m.Data), `"stream":"EVENTS"`) {
			t.Fatalf("an event is not stored: %v", err)
		}
	}
	busy := producer() // the oldest, but not the one that does nothing
	idle := make([]*nats.Conn, maxAnonymous-1)
	for i := range idle {
		idle[i] = producer()
	}
	publishes(busy)
	const more = 20
	for range more {
		publishes(producer())
	}
	publishes(busy)
	for i, nc := range idle {
		if gone := i < more; gone {
			eventually(t, nc.IsClosed)
		} else if nc.IsClosed() {
			t.Errorf("idle connection %d was closed, although %d were idle for longer", i+1, i)
		}
	}
	if lines := logs.FilterMessageSnippet("too many clients without credentials").Len(); lines != 1 {
		t.Errorf("%d lines in the log, want 1", lines)
	}
}

func TestOperatorKey(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	path := filepath.Join(dir, OperatorKeyName)
	first, err := operatorKey(dir)
	if err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	if info.Mode().Perm() != 0o600 {
		t.Errorf("mode %o, want 600", info.Mode().Perm())
	}
	again, err := operatorKey(dir)
	if err != nil || public(t, again) != public(t, first) {
		t.Errorf("the second start has another key: %v", err)
	}
	entries, err := os.ReadDir(dir)
	if err != nil || len(entries) != 1 {
		t.Errorf("left behind: %v, %v", entries, err)
	}
	// A group may be let in on purpose, everybody may not.
	for mode, ok := range map[fs.FileMode]bool{0o640: true, 0o660: true, 0o644: false, 0o602: false} {
		if err := os.Chmod(path, mode); err != nil {
			t.Fatal(err)
		}
		if _, err := operatorKey(dir); (err == nil) != ok {
			t.Errorf("mode %o: %v, want accepted: %v", mode, err, ok)
		} else if err != nil && !strings.Contains(err.Error(), "chmod") {
			t.Errorf("mode %o: error %q does not say what to do", mode, err)
		}
	}
	// What is there is never replaced, not even garbage.
	for _, text := range []string{"", "no key", "SUAGARBAGE", strings.Repeat("x", 10_000)} {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(path, 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := operatorKey(dir); err == nil || !strings.Contains(err.Error(), path) || text != "" && strings.Contains(err.Error(), text) {
			t.Errorf("%.10q: error %v", text, err)
		}
		if left, err := os.ReadFile(path); err != nil || string(left) != text {
			t.Errorf("%.10q was replaced: %v", text, err)
		}
	}
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	if next, err := operatorKey(dir); err != nil || public(t, next) == public(t, first) {
		t.Errorf("no new key after the old one was deleted: %v", err)
	}
}

// A process beside the gateway has the key, or is told why not.
func TestConnectWithTheOperatorKey(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s := startEmbedded(t, Embedded{StoreDir: dir, Listen: "127.0.0.1:-1", Subjects: []string{"events.>"}, Anonymous: true})
	settings := Settings{Embedded: Embedded{StoreDir: dir, Listen: s.Addr()}}
	named, foreign, keyed := settings, settings, settings
	named.URL = s.URL()
	foreign.URL, foreign.Embedded.StoreDir = s.URL(), t.TempDir()
	keyed.URL, keyed.Credentials, keyed.Embedded = s.URL(), s.OperatorKey(), Embedded{}
	elsewhere := settings
	elsewhere.Embedded.StoreDir = t.TempDir()

	for _, test := range []struct {
		name     string
		settings Settings
		optional bool
		operates bool
		want     string // part of the error
	}{
		{"the embedded server", settings, false, true, ""},
		{"its address as the URL", named, false, true, ""},
		{"the key as credentials", keyed, false, true, ""},
		{"no key at hand, but it is not needed", elsewhere, true, false, ""},
		{"its address as the URL, no key", foreign, false, false, ""},
		{"no key at hand", elsewhere, false, false, "start the gateway"},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			nc, err := Connect(t.Context(), test.settings, ConnectOptions{NoWait: true, KeyOptional: test.optional})
			if test.want != "" {
				if err == nil || !strings.Contains(err.Error(), test.want) || !errors.Is(err, fs.ErrNotExist) {
					t.Errorf("error %v does not say %q", err, test.want)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			defer nc.Close()
			_, err = nc.Request("$JS.API.INFO", nil, map[bool]time.Duration{true: patience, false: 200 * time.Millisecond}[test.operates])
			if (err == nil) != test.operates {
				t.Errorf("asking JetStream: %v, want it to work: %v", err, test.operates)
			}
		})
	}
}

// Strangers who fail to log in, and producers who try what they may not, do
// not fill the log.
func TestServerLogIsBounded(t *testing.T) {
	t.Parallel()
	core, logs := observer.New(zapcore.WarnLevel)
	log := newServerLog(zap.New(core))
	for range 10_000 {
		log.Errorf("authentication error")
	}
	if n := logs.Len(); n < 1 || n > logBurst+10 {
		t.Errorf("%d lines", n)
	}
}

func newKey(t *testing.T) nkeys.KeyPair {
	t.Helper()
	pair, err := nkeys.CreateUser()
	if err != nil {
		t.Fatal(err)
	}
	return pair
}

func public(t *testing.T, pair nkeys.KeyPair) string {
	t.Helper()
	key, err := pair.PublicKey()
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func keyOf(t *testing.T, pair nkeys.KeyPair) nats.Option {
	t.Helper()
	option, err := keyOption(pair)
	if err != nil {
		t.Fatal(err)
	}
	return option
}

func eventually(t *testing.T, ok func() bool) {
	t.Helper()
	for deadline := time.After(patience); !ok(); {
		select {
		case <-deadline:
			t.Fatal("it never happens")
		case <-time.After(5 * time.Millisecond):
		}
	}
}
