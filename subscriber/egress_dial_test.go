package subscriber

import (
	"context"
	"crypto/x509"
	"errors"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"fanjet/internal/secret"
)

// names is a resolver whose answers a test can change. The zero value knows no
// name.
type names struct {
	mu      sync.Mutex
	answers map[string][][]string // the last one stays
	asked   int
}

func (n *names) set(name string, answers ...[]string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.answers == nil {
		n.answers = make(map[string][][]string)
	}
	n.answers[name] = answers
}

func (n *names) lookup(_ context.Context, host string) ([]netip.Addr, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.asked++
	answers := n.answers[host]
	if len(answers) == 0 {
		return nil, &net.DNSError{Err: "no such host", Name: host, IsNotFound: true}
	}
	if len(answers) > 1 {
		n.answers[host] = answers[1:]
	}
	var addrs []netip.Addr
	for _, text := range answers[0] {
		addrs = append(addrs, netip.MustParseAddr(text))
	}
	return addrs, nil
}

// guarded is an endpoint behind a guard with a resolver.
func guarded(t *testing.T, rawURL string, egress Egress, resolver *names, change ...func(*Endpoint)) *target {
	t.Helper()
	ep := testEndpoint(t, rawURL, egress, change...)
	out, err := newTarget(ep.Endpoint, NewGuard(egress, GuardOptions{Resolve: resolver.lookup}), "", nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(out.closeIdle)
	return out
}

// hits is a receiver at an address of loopback that counts what reaches it,
// requests and connections.
func hits(t *testing.T, address string) (port string, requests, connections *atomic.Int32) {
	t.Helper()
	l, err := net.Listen("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	requests, connections = new(atomic.Int32), new(atomic.Int32)
	server := &http.Server{
		Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			requests.Add(1)
			w.Header().Set("Connection", "close")
		}),
		ConnState: func(_ net.Conn, state http.ConnState) {
			if state == http.StateNew {
				connections.Add(1)
			}
		},
		ReadHeaderTimeout: time.Minute,
	}
	done := make(chan struct{})
	go func() { defer close(done); _ = server.Serve(l) }()
	t.Cleanup(func() { _ = server.Close(); <-done })
	_, port, _ = net.SplitHostPort(l.Addr().String())
	return port, requests, connections
}

// A name that leads to an allowed address once and to a forbidden one the next
// time it is asked gets nobody to the forbidden one: what is judged is what is
// dialled.
func TestNamesThatChangeTheirAnswer(t *testing.T) {
	t.Parallel()
	port, _, allowed := hits(t, "127.0.0.2:0")
	_, _, forbidden := hits(t, "127.0.0.1:"+port)
	policy := Egress{AllowHTTP: true, AllowCIDRs: allow(t, "127.0.0.2")}
	resolver := new(names)
	ep := guarded(t, "http://rebind.example:"+port, policy, resolver)
	good, bad := []string{"127.0.0.2"}, []string{"127.0.0.1"}

	resolver.set("rebind.example", good, bad, good, bad)
	for i, want := range []Class{Class2xx, ClassBlocked, Class2xx, ClassBlocked} {
		if r := try(t.Context(), ep, nil, []byte("{}")); r.Class != want {
			t.Errorf("attempt %d: %+v, want the class %s", i, r, want)
		}
	}
	if resolver.asked != 4 {
		t.Errorf("the name was resolved %d times for 4 connections", resolver.asked)
	}
	if allowed.Load() != 2 || forbidden.Load() != 0 {
		t.Errorf("%d connections to the allowed address, want 2; %d to the forbidden one", allowed.Load(), forbidden.Load())
	}
}

// Every address of a name is judged: the allowed ones are used, the others never.
func TestEveryAddressOfANameIsJudged(t *testing.T) {
	t.Parallel()
	port, requests, _ := hits(t, "127.0.0.3:0")
	_, _, forbidden := hits(t, "127.0.0.1:"+port)
	policy := Egress{AllowHTTP: true, AllowCIDRs: allow(t, "127.0.0.3", "127.0.0.4")}
	for _, tt := range []struct {
		name  string
		addrs []string
		want  Class
		text  string
	}{
		{"one, allowed", []string{"127.0.0.3"}, Class2xx, ""},
		{"one, mapped", []string{"::ffff:127.0.0.3"}, Class2xx, ""},
		{"blocked before the allowed one", []string{"127.0.0.1", "169.254.169.254", "::1", "127.0.0.3"}, Class2xx, ""},
		{"blocked behind the allowed one", []string{"127.0.0.3", "127.0.0.1", "::1"}, Class2xx, ""},
		{"another family first", []string{"::1", "fd00:ec2::254", "127.0.0.3"}, Class2xx, ""},
		{"one, blocked", []string{"127.0.0.1"}, ClassBlocked, "127.0.0.1 is not a public address"},
		{"all blocked", []string{"127.0.0.1", "::1", "10.0.0.1"}, ClassBlocked, "(3 in all)"},
		// What is blocked does not hide that the allowed one is down, which passes.
		{"the allowed one is down", []string{"127.0.0.1", "127.0.0.4", "::1"}, ClassConnect, "127.0.0.4"},
		{"none", nil, ClassDNS, "no addresses"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			resolver := new(names)
			resolver.set("many.example", tt.addrs)
			before := requests.Load()
			r := try(t.Context(), guarded(t, "http://many.example:"+port, policy, resolver), nil, []byte("{}"))
			if r.Class != tt.want || !strings.Contains(r.describe(), tt.text) {
				t.Errorf("%+v, want the class %s and %q", r, tt.want, tt.text)
			}
			if got := requests.Load() - before; (got == 1) != (tt.want == Class2xx) {
				t.Errorf("%d requests arrived", got)
			}
		})
	}
	if n := forbidden.Load(); n != 0 {
		t.Errorf("%d connections to a forbidden address", n)
	}
}

func TestJudge(t *testing.T) {
	t.Parallel()
	resolver := new(names)
	resolver.set("app.example", []string{"10.0.0.1", "1.1.1.1", "169.254.169.254", "2a00::1"})
	own := listening(netip.MustParseAddrPort("1.1.1.1:8422"))
	guard := NewGuard(Egress{AllowCIDRs: allow(t, "10.0.0.0/8:443"), Ports: []uint16{443, 8422}}, GuardOptions{Own: own, Resolve: resolver.lookup})
	for rawURL, want := range map[string][]string{
		"https://app.example/x":     {"10.0.0.1:443 ok", "1.1.1.1:443 ok", "169.254.169.254:443 is link-local", "[2a00::1]:443 ok"},
		"https://app.example:8422/": {"10.0.0.1:8422 is not a public", "1.1.1.1:8422 is a listener of Fanjet", "169.254.169.254:8422 is link-local", "[2a00::1]:8422 ok"},
		"https://10.0.0.1/":         {"10.0.0.1:443 ok"},
		"http://app.example:443/":   {"10.0.0.1:443 plain http", "1.1.1.1:443 plain http", "169.254.169.254:443 plain http", "[2a00::1]:443 plain http"},
	} {
		verdicts, err := guard.Judge(t.Context(), testEndpoint(t, rawURL, Egress{}).URL)
		if err != nil || len(verdicts) != len(want) {
			t.Errorf("Judge(%s) = %v, %v", rawURL, verdicts, err)
			continue
		}
		for i, v := range verdicts {
			addr, text, _ := strings.Cut(want[i], " ")
			if v.Addr.String() != addr || (v.Err == nil) != (text == "ok") || v.Err != nil && (!errors.Is(v.Err, ErrBlocked) || !strings.Contains(v.Err.Error(), text)) {
				t.Errorf("Judge(%s)[%d] = %s %v, want %s", rawURL, i, v.Addr, v.Err, want[i])
			}
		}
	}
	if _, err := guard.Judge(t.Context(), testEndpoint(t, "https://unknown.example/", Egress{}).URL); classOf(err) != ClassDNS {
		t.Errorf("Judge of an unknown name = %v", err)
	}
}

// The second address is tried when the first one has failed or takes long, the
// connection that comes first is used, and no other one stays.
func TestDialAny(t *testing.T) {
	t.Parallel()
	v4, v4b, v6 := netip.MustParseAddrPort("1.1.1.1:1"), netip.MustParseAddrPort("1.1.1.2:1"), netip.MustParseAddrPort("[2a00::1]:1")
	refused := errors.New("refused")
	type how struct {
		after time.Duration
		err   error
	}
	for _, tt := range []struct {
		name  string
		addrs []netip.AddrPort
		how   map[netip.AddrPort]how
		won   netip.AddrPort
		after time.Duration
	}{
		{"first at once", []netip.AddrPort{v4, v6}, nil, v4, 0},
		{"first is refused", []netip.AddrPort{v4, v4b}, map[netip.AddrPort]how{v4: {0, refused}}, v4b, 0},
		{"families take turns", []netip.AddrPort{v4, v4b, v6}, map[netip.AddrPort]how{v4: {0, refused}}, v6, 0},
		{"first hangs", []netip.AddrPort{v6, v4}, map[netip.AddrPort]how{v6: {time.Hour, nil}}, v4, dialAhead},
		{"first is slow, and the second slower", []netip.AddrPort{v6, v4}, map[netip.AddrPort]how{v6: {2 * dialAhead, nil}, v4: {time.Minute, nil}}, v6, 2 * dialAhead},
		{"both come at once", []netip.AddrPort{v6, v4}, map[netip.AddrPort]how{v6: {2 * dialAhead, nil}, v4: {dialAhead, nil}}, netip.AddrPort{}, 2 * dialAhead},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var opened, closed atomic.Int32
				began := time.Now()
				c, err := dialAny(t.Context(), tt.addrs, func(ctx context.Context, addr netip.AddrPort) (net.Conn, error) {
					h := tt.how[addr]
					select {
					case <-time.After(h.after):
					case <-ctx.Done():
						return nil, ctx.Err()
					}
					if h.err != nil {
						return nil, h.err
					}
					opened.Add(1)
					return &countedClose{addr: addr, closed: &closed}, nil
				})
				if err != nil || time.Since(began) != tt.after {
					t.Fatalf("%v after %v, want %v", err, time.Since(began), tt.after)
				}
				if got := c.(*countedClose).addr; tt.won.IsValid() && got != tt.won {
					t.Errorf("connected to %s, want %s", got, tt.won)
				}
				synctest.Wait()
				if opened.Load()-closed.Load() != 1 {
					t.Errorf("%d connections were opened, %d closed", opened.Load(), closed.Load())
				}
			})
		})
	}
	first := errors.New("first")
	_, err := dialAny(t.Context(), []netip.AddrPort{v4, v6}, func(_ context.Context, addr netip.AddrPort) (net.Conn, error) {
		if addr == v4 {
			return nil, first
		}
		return nil, refused
	})
	if !errors.Is(err, first) {
		t.Errorf("dialAny = %v, want the error of the first address", err)
	}
}

type countedClose struct {
	net.Conn
	addr   netip.AddrPort
	closed *atomic.Int32
}

func (c *countedClose) Close() error { c.closed.Add(1); return nil }

func TestAlternate(t *testing.T) {
	t.Parallel()
	parse := func(list string) (out []netip.AddrPort) {
		for text := range strings.FieldsSeq(list) {
			out = append(out, netip.AddrPortFrom(netip.MustParseAddr(text), 1))
		}
		return out
	}
	for list, want := range map[string]string{
		"::1 ::2 ::3 1.1.1.1": "::1 1.1.1.1 ::2 ::3",
		"1.1.1.1 ::1 1.1.1.2": "1.1.1.1 ::1 1.1.1.2",
		"1.1.1.2 1.1.1.1":     "1.1.1.2 1.1.1.1",
	} {
		if got := alternate(parse(list)); !slices.Equal(got, parse(want)) {
			t.Errorf("alternate(%s) = %v, want %s", list, got, want)
		}
	}
}

// Once another policy is in force, nothing is sent any more over the connections
// of the old one: not over an idle one, nor over one that is being made.
func TestRetiredTransport(t *testing.T) {
	t.Parallel()
	for _, http2 := range []bool{false, true} {
		t.Run(map[bool]string{false: "HTTP/1.1", true: "HTTP/2"}[http2], func(t *testing.T) {
			t.Parallel()
			arrived, release := make(chan struct{}, 1), make(chan struct{})
			var requests atomic.Int32
			closed := make(chan struct{}, 4)
			var connections atomic.Int32
			s := httptest.NewUnstartedServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
				if requests.Add(1) == 2 {
					arrived <- struct{}{}
					<-release
				}
			}))
			s.EnableHTTP2 = http2
			s.Config.ConnState = func(_ net.Conn, state http.ConnState) {
				switch state {
				case http.StateNew:
					connections.Add(1)
				case http.StateClosed:
					closed <- struct{}{}
				}
			}
			s.StartTLS()
			t.Cleanup(s.Close)
			roots := x509.NewCertPool()
			roots.AddCert(s.Certificate())
			ep := testEndpoint(t, s.URL, loopback)
			trust(ep, roots)
			if r := try(t.Context(), ep, nil, []byte("{}")); r.Class != Class2xx {
				t.Fatalf("%+v", r)
			}
			// One is under way when the policy changes: it goes on.
			underWay := make(chan Result, 1)
			go func() { underWay <- try(t.Context(), ep, nil, []byte("{}")) }()
			<-arrived
			ep.retire()
			if r := try(t.Context(), ep, nil, []byte("{}")); r.Class != ClassInterrupted {
				t.Errorf("%+v, want that it is given back", r)
			}
			close(release)
			if r := <-underWay; r.Class != Class2xx {
				t.Errorf("what was under way: %+v", r)
			}
			<-closed // its connection, at its end
			if r := try(t.Context(), ep, nil, []byte("{}")); r.Class != ClassInterrupted {
				t.Errorf("%+v, want that it is given back", r)
			}
			if requests.Load() != 2 || connections.Load() != 1 {
				t.Errorf("%d requests over %d connections, want 2 over 1", requests.Load(), connections.Load())
			}
		})
	}
}

// A policy that changes while a connection is being made: it is not used.
func TestRetiredWhileDialling(t *testing.T) {
	t.Parallel()
	port, requests, _ := hits(t, "127.0.0.1:0")
	settings := testEndpoint(t, "http://slow.example:"+port, loopback).Endpoint
	settings.Secrets = []secret.Value{secret.New(testSecret)}
	var ep *target
	guard := NewGuard(loopback, GuardOptions{Resolve: func(context.Context, string) ([]netip.Addr, error) {
		ep.retire()
		return []netip.Addr{netip.MustParseAddr("127.0.0.1")}, nil
	}})
	ep, err := newTarget(settings, guard, "", nil)
	if err != nil {
		t.Fatal(err)
	}
	if r := try(t.Context(), ep, nil, []byte("{}")); r.Class != ClassInterrupted || requests.Load() != 0 {
		t.Errorf("%+v after %d requests, want that it is given back", r, requests.Load())
	}
}
