package broker

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"

	"fanjet/internal/natstest"
	"fanjet/internal/secret"
)

// A server that says nothing before the TLS handshake is reached with
// handshake_first, and each of the two mistakes is named.
func TestConnectHandshakeFirst(t *testing.T) {
	t.Parallel()
	certFile, keyFile := writeCertificate(t, "127.0.0.1")
	otherFile, otherKey := writeCertificate(t, "nats.example.com")
	tlsFirst := func(first bool, timeout float64) string {
		pair, err := serverTLS(TLS{Cert: certFile, Key: keyFile}, nil)
		if err != nil {
			t.Fatal(err)
		}
		s := natstest.Start(t, natstest.Options{Listen: true, Adjust: func(o *server.Options) {
			o.TLSConfig, o.TLSTimeout, o.TLSHandshakeFirst = pair, timeout, first
		}})
		return s.URL()
	}
	const long, short = time.Minute, 100 * time.Millisecond // who is to wait for the other, and who not
	first, usual := tlsFirst(true, long.Seconds()), tlsFirst(false, long.Seconds())
	hasty := tlsFirst(true, short.Seconds()) // cuts off who does not begin
	plain := natstest.Start(t, natstest.Options{Listen: true}).URL()
	for _, test := range []struct {
		name     string
		settings Settings
		timeout  time.Duration
		want     string // part of the error; empty: connects
	}{
		{"first", Settings{URL: first, TLS: TLS{CA: certFile, HandshakeFirst: true}}, long, ""},
		{"first, scheme tls", Settings{URL: strings.Replace(first, "nats:", "tls:", 1), TLS: TLS{CA: certFile, HandshakeFirst: true}}, long, ""},
		{"first, with a client certificate", Settings{URL: first, TLS: TLS{CA: certFile, Cert: otherFile, Key: otherKey, HandshakeFirst: true}}, long, ""},
		{"first, authority unknown", Settings{URL: first, TLS: TLS{HandshakeFirst: true}}, long, "set nats.tls.ca"},
		{"first, and not said", Settings{URL: first, TLS: TLS{CA: certFile}}, short, "set nats.tls.handshake_first"},
		{"first, and no TLS", Settings{URL: first}, short, "set nats.tls.handshake_first"},
		{"first, not said, and cut off", Settings{URL: hasty, TLS: TLS{CA: certFile}}, long, "set nats.tls.handshake_first"},
		{"first, no TLS, and cut off", Settings{URL: hasty}, long, "set nats.tls.handshake_first"},
		{"not first, but said", Settings{URL: usual, TLS: TLS{CA: certFile, HandshakeFirst: true}}, long, "leave nats.tls.handshake_first out"},
		{"no TLS, but said", Settings{URL: plain, TLS: TLS{HandshakeFirst: true}}, long, "leave nats.tls.handshake_first out"},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			nc, err := Connect(t.Context(), test.settings, ConnectOptions{NoWait: true, Timeout: test.timeout})
			if err == nil {
				nc.Close()
			}
			switch {
			case test.want == "" && err != nil:
				t.Error(err)
			case test.want != "" && (err == nil || !strings.Contains(err.Error(), test.want)):
				t.Errorf("error %v does not contain %q", err, test.want)
			}
		})
	}
}

// A user that the server knows by name and password; what it refuses is said
// without a word of either.
func TestConnectUser(t *testing.T) {
	t.Parallel()
	url := natstest.Start(t, natstest.Options{Listen: true, Adjust: func(o *server.Options) {
		o.Users = []*server.User{{Username: "gateway", Password: "a good password"}}
	}}).URL()
	for _, test := range []struct{ user, password, want string }{
		{"gateway", "a good password", ""},
		{"gateway", "another one", "refused the user in nats.user"},
		{"intruder", "a good password", "refused the user in nats.user"},
		{"", "", "nats.user and nats.password"},
	} {
		settings := Settings{URL: url, User: secret.New(test.user), Password: secret.New(test.password)}
		nc, err := Connect(t.Context(), settings, ConnectOptions{NoWait: true})
		if err == nil {
			nc.Close()
		}
		switch {
		case test.want == "" && err != nil:
			t.Error(err)
		case test.want != "" && (err == nil || !strings.Contains(err.Error(), test.want)):
			t.Errorf("%s: error %v does not contain %q", test.user, err, test.want)
		}
		for _, shown := range []string{"a good password", "another one", "intruder"} {
			if err != nil && strings.Contains(err.Error(), shown) {
				t.Errorf("the error shows %q: %v", shown, err)
			}
		}
	}
}

// Of a JetStream domain behind a link the settings name it; one that nothing
// answers for may come, and is waited for.
func TestCheckServerOfADomain(t *testing.T) {
	t.Parallel()
	leaf := natstest.Leaf(t)
	settings := Settings{URL: leaf.Edge.URL(), Domain: "hub"}
	nc, err := Connect(t.Context(), settings, ConnectOptions{NoWait: true})
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	for deadline := time.Now().Add(30 * time.Second); ; {
		if err = settings.CheckServer(t.Context(), nc); err == nil {
			break
		}
		if !Transient(err) || time.Now().After(deadline) {
			t.Fatalf("the domain of the hub: %v", err)
		}
		<-time.After(5 * time.Millisecond) // the hub tells the edge of its domain a moment after the link is there
	}
	settings.Domain = "elsewhere"
	err = settings.CheckServer(t.Context(), nc)
	if err == nil || !strings.Contains(err.Error(), `nothing answers for the JetStream domain "elsewhere"`) || !Transient(err) {
		t.Errorf("of a domain that is not there: %v", err)
	}
	other := errors.New("something else")
	if err := settings.Unanswered(nc, other); err == nil || err.Error() != other.Error() {
		t.Errorf("Unanswered(%v) = %v", other, err)
	}
}
