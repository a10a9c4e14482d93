package httpsend

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"fanjet/subscriber/egress"
	"fanjet/subscriber/outcome"
)

// aged is a policy under which connections are renewed all the time.
func aged(age time.Duration) egress.Policy {
	policy := loopback
	policy.MaxConnectionAge = age
	return policy
}

// site is a receiver on an address of loopback, with TLS or without, that counts.
type site struct {
	*httptest.Server
	requests, opened, closed atomic.Int32
}

// scheme is how a receiver of a test speaks.
type scheme struct {
	name          string
	secure, http2 bool
}

var schemes = []scheme{{"http", false, false}, {"https", true, false}, {"HTTP/2", true, true}}

func newSite(t *testing.T, address string, s scheme, cert tls.Certificate) *site {
	t.Helper()
	l, err := net.Listen("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	out := new(site)
	out.Server = httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		out.requests.Add(1)
		if s.http2 != (r.ProtoMajor == 2) {
			t.Errorf("%s over %s", s.name, r.Proto)
		}
	}))
	out.Config.ConnState = func(_ net.Conn, state http.ConnState) {
		switch state {
		case http.StateNew:
			out.opened.Add(1)
		case http.StateClosed, http.StateHijacked:
			out.closed.Add(1)
		}
	}
	_ = out.Listener.Close()
	out.Listener = l
	out.EnableHTTP2 = s.http2
	if s.secure {
		out.TLS = &tls.Config{Certificates: []tls.Certificate{cert}}
		out.StartTLS()
	} else {
		out.Start()
	}
	t.Cleanup(out.Close)
	return out
}

// port is where it listens.
func (s *site) port() string {
	return s.Listener.Addr().String()[strings.LastIndexByte(s.Listener.Addr().String(), ':')+1:]
}

func (s scheme) url(host, port string) string {
	if s.secure {
		return "https://" + host + ":" + port
	}
	return "http://" + host + ":" + port
}

// busy makes attempts, some at once, until enough reports true, and returns how many.
func busy(t *testing.T, sender *Sender, atOnce int, enough func() bool) (made int32) {
	t.Helper()
	var attempts sync.WaitGroup
	var count, failed atomic.Int32
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	for range atOnce {
		attempts.Go(func() {
			for ctx.Err() == nil && !enough() && failed.Load() == 0 {
				if r := try(t.Context(), sender, []byte("{}")); r.Status != 200 {
					failed.Add(1)
					t.Errorf("%+v", r)
				}
				count.Add(1)
			}
		})
	}
	attempts.Wait()
	if ctx.Err() != nil {
		t.Errorf("waited too long, after %d attempts", count.Load())
	}
	return count.Load()
}

// The connections of an endpoint that is never idle are renewed: no attempt fails
// and none is repeated, and the old ones are closed.
func TestConnectionsAreRenewed(t *testing.T) {
	t.Parallel()
	ours := newAuthority(t)
	for _, s := range schemes {
		t.Run(s.name, func(t *testing.T) {
			t.Parallel()
			receiver := newSite(t, "127.0.0.1:0", s, ours.issue(nil))
			sender := testSender(t, receiver.schemeURL(s), aged(20*time.Millisecond), func(o *Options) { o.Slots = 4 })
			trust(sender, ours.roots)
			made := busy(t, sender, 4, func() bool { return receiver.closed.Load() > 20 })
			if n := receiver.requests.Load(); n != made {
				t.Errorf("%d requests of %d attempts", n, made)
			}
			waitFor(t, "what is not used is closed", func() bool { return receiver.closed.Load() == receiver.opened.Load() })
		})
	}
}

func (s *site) schemeURL(of scheme) string { return of.url("127.0.0.1", s.port()) }

// A name that leads elsewhere is followed, and one that does not resolve for a while
// costs no attempt.
func TestBusyConnectionFollowsItsName(t *testing.T) {
	t.Parallel()
	ours := newAuthority(t)
	cert := ours.issue(certFor("receiver.test"))
	for _, s := range schemes {
		t.Run(s.name, func(t *testing.T) {
			t.Parallel()
			before := newSite(t, "127.0.0.1:0", s, cert)
			after := newSite(t, "127.0.0.2:"+before.port(), s, cert)
			resolver := new(names)
			resolver.set("receiver.test", []string{"127.0.0.1"})
			sender := guarded(t, s.url("receiver.test", before.port()), aged(time.Minute), resolver, func(o *Options) { o.Slots = 4 })
			sender.transport.random = func() float64 { return -2.998 } // due almost at once, and over much later
			trust(sender, ours.roots)
			busy(t, sender, 4, func() bool { return before.requests.Load() > 20 })
			resolver.set("receiver.test") // nobody knows it
			asked := resolver.count()
			busy(t, sender, 1, func() bool { return resolver.count() > asked })
			resolver.set("receiver.test", []string{"127.0.0.2"})
			busy(t, sender, 4, func() bool { return after.requests.Load() > 20 && before.opened.Load() == before.closed.Load() })
		})
	}
}

// What is forbidden now is noticed, although the connection is never idle.
func TestBusyConnectionObeysTheNewVerdict(t *testing.T) {
	t.Parallel()
	ours := newAuthority(t)
	cert := ours.issue(certFor("receiver.test"))
	for _, s := range schemes {
		t.Run(s.name, func(t *testing.T) {
			t.Parallel()
			receiver := newSite(t, "127.0.0.1:0", s, cert)
			resolver := new(names)
			resolver.set("receiver.test", []string{"127.0.0.1"})
			sender := guarded(t, s.url("receiver.test", receiver.port()), aged(20*time.Millisecond), resolver)
			trust(sender, ours.roots)
			if r := try(t.Context(), sender, nil); r.Status != 200 {
				t.Fatalf("%+v", r)
			}
			resolver.set("receiver.test", []string{"10.0.0.1"})
			waitFor(t, "it is blocked", func() bool {
				r := try(t.Context(), sender, nil)
				if r.Class != outcome.Class2xx && r.Class != outcome.ClassBlocked {
					t.Fatalf("%+v", r)
				}
				return r.Class == outcome.ClassBlocked
			})
		})
	}
}

// A stream of HTTP/2 that is under way when its connection is due ends in peace.
func TestLongStreamOutlivesItsConnectionsTime(t *testing.T) {
	t.Parallel()
	begun, release := make(chan struct{}), make(chan struct{})
	var first atomic.Bool
	s, roots, connections := secureReceiver(t, true, func(http.ResponseWriter, *http.Request) {
		if !first.Swap(true) {
			close(begun)
			<-release
		}
	})
	sender := testSender(t, s.URL, aged(10*time.Millisecond))
	trust(sender, roots)
	long := make(chan outcome.Result)
	go func() { long <- try(t.Context(), sender, []byte("{}")) }()
	<-begun
	busy(t, sender, 4, func() bool { return connections.Load() > 4 })
	close(release)
	if r := <-long; r.Status != 200 {
		t.Errorf("%+v", r)
	}
}

// Ages are spread, and without a greatest one there is none.
func TestSpanOf(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		most     time.Duration
		random   float64
		due, end time.Duration
	}{
		{0, 0.5, 0, 0},
		{4 * time.Minute, 0, 3 * time.Minute, 7 * time.Minute},
		{4 * time.Minute, 0.5, 3*time.Minute + 30*time.Second, 7*time.Minute + 30*time.Second},
		{4 * time.Minute, 0.999999999, 4 * time.Minute, 8 * time.Minute},
	} {
		tr := newTransport(1, egress.New(aged(tt.most), egress.GuardOptions{}))
		tr.random = func() float64 { return tt.random }
		s := tr.spanOf(when)
		if tt.most == 0 {
			if s != (span{}) || s.isDue(when.Add(time.Hour)) || s.over(when.Add(time.Hour)) {
				t.Errorf("%+v", s)
			}
			continue
		}
		if due, end := s.due.Sub(when).Round(time.Millisecond), s.end.Sub(when).Round(time.Millisecond); due != tt.due || end != tt.end {
			t.Errorf("%s, %v: due after %s, over after %s", tt.most, tt.random, due, end)
		}
		if s.isDue(s.due.Add(-1)) || !s.isDue(s.due) || s.over(s.end.Add(-1)) || !s.over(s.end) {
			t.Errorf("%+v", s)
		}
	}
}

// An idle connection that is due is closed a moment later, though it might stay idle
// for longer; one that is put back after its end at once.
func TestIdleConnsThatAreDue(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p := &idleConns{max: 3, timeout: 90 * time.Second, renew: func(*conn) {}}
		late, lateClosed := idleConn(t)
		late.span = span{due: time.Now().Add(50 * time.Second), end: time.Now().Add(time.Hour)}
		soon, soonClosed := idleConn(t)
		soon.span = span{due: time.Now().Add(10 * time.Second), end: time.Now().Add(time.Hour)}
		p.put(late)
		p.put(soon)
		time.Sleep(9 * time.Second) //nolint:forbidigo // synctest
		synctest.Wait()
		if soonClosed() {
			t.Error("closed too early")
		}
		if p.take() != soon { // used, and idle again: for a moment it may be used once more
			t.Fatal("it is not there")
		}
		time.Sleep(1500 * time.Millisecond) //nolint:forbidigo // synctest
		p.put(soon)
		time.Sleep(agedIdle - 1) //nolint:forbidigo // synctest
		synctest.Wait()
		if soonClosed() {
			t.Error("closed too early after it was used")
		}
		time.Sleep(time.Nanosecond) //nolint:forbidigo // synctest
		synctest.Wait()
		if !soonClosed() || lateClosed() {
			t.Errorf("after 11.5 s: %v, %v", soonClosed(), lateClosed())
		}
		time.Sleep(40 * time.Second) //nolint:forbidigo // synctest
		synctest.Wait()
		if !lateClosed() {
			t.Error("not closed after 51.5 s")
		}
		over, overClosed := idleConn(t)
		over.span = span{due: time.Now().Add(-time.Minute), end: time.Now()}
		p.put(over)
		if !overClosed() {
			t.Error("kept beyond its end")
		}
	})
}

// certFor has a certificate be for a name.
func certFor(name string) func(*x509.Certificate) {
	return func(c *x509.Certificate) { c.DNSNames = []string{name} }
}

// count is how often a name was asked for.
func (n *names) count() int {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.asked
}
