package httpsend

import (
	"context"
	"errors"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"fanjet/subscriber/egress"
	"fanjet/subscriber/outcome"
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

// guarded sends to a URL behind a guard with a resolver.
func guarded(t *testing.T, rawURL string, policy egress.Policy, resolver *names, change ...func(*Options)) *Sender {
	t.Helper()
	return testSenderBehind(t, rawURL, egress.New(policy, egress.GuardOptions{Resolve: resolver.lookup}), change...)
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
	policy := egress.Policy{AllowHTTP: true, AllowCIDRs: allowing(t, "127.0.0.2")}
	resolver := new(names)
	sender := guarded(t, "http://rebind.example:"+port, policy, resolver)
	good, bad := []string{"127.0.0.2"}, []string{"127.0.0.1"}

	resolver.set("rebind.example", good, bad, good, bad)
	for i, want := range []outcome.Class{outcome.Class2xx, outcome.ClassBlocked, outcome.Class2xx, outcome.ClassBlocked} {
		if r := try(t.Context(), sender, []byte("{}")); r.Class != want {
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
	policy := egress.Policy{AllowHTTP: true, AllowCIDRs: allowing(t, "127.0.0.3", "127.0.0.4")}
	for _, tt := range []struct {
		name  string
		addrs []string
		want  outcome.Class
		text  string
	}{
		{"one, allowed", []string{"127.0.0.3"}, outcome.Class2xx, ""},
		{"one, mapped", []string{"::ffff:127.0.0.3"}, outcome.Class2xx, ""},
		{"blocked before the allowed one", []string{"127.0.0.1", "169.254.169.254", "::1", "127.0.0.3"}, outcome.Class2xx, ""},
		{"blocked behind the allowed one", []string{"127.0.0.3", "127.0.0.1", "::1"}, outcome.Class2xx, ""},
		{"another family first", []string{"::1", "fd00:ec2::254", "127.0.0.3"}, outcome.Class2xx, ""},
		{"one, blocked", []string{"127.0.0.1"}, outcome.ClassBlocked, "127.0.0.1 is not a public address"},
		{"all blocked", []string{"127.0.0.1", "::1", "10.0.0.1"}, outcome.ClassBlocked, "(3 in all)"},
		// What is blocked does not hide that the allowed one is down, which passes.
		{"the allowed one is down", []string{"127.0.0.1", "127.0.0.4", "::1"}, outcome.ClassConnect, "127.0.0.4"},
		{"none", nil, outcome.ClassDNS, "no addresses"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			resolver := new(names)
			resolver.set("many.example", tt.addrs)
			before := requests.Load()
			r := try(t.Context(), guarded(t, "http://many.example:"+port, policy, resolver), []byte("{}"))
			if r.Class != tt.want || !strings.Contains(r.Failure(), tt.text) {
				t.Errorf("%+v, want the class %s and %q", r, tt.want, tt.text)
			}
			if got := requests.Load() - before; (got == 1) != (tt.want == outcome.Class2xx) {
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
	own := ownListeners(netip.MustParseAddrPort("1.1.1.1:8422"))
	guard := egress.New(egress.Policy{AllowCIDRs: allowing(t, "10.0.0.0/8:443"), Ports: []uint16{443, 8422}}, egress.GuardOptions{Own: own, Resolve: resolver.lookup})
	for rawURL, want := range map[string][]string{
		"https://app.example/x":     {"10.0.0.1:443 ok", "1.1.1.1:443 ok", "169.254.169.254:443 is link-local", "[2a00::1]:443 ok"},
		"https://app.example:8422/": {"10.0.0.1:8422 is not a public", "1.1.1.1:8422 is a listener of Fanjet", "169.254.169.254:8422 is link-local", "[2a00::1]:8422 ok"},
		"https://10.0.0.1/":         {"10.0.0.1:443 ok"},
		"http://app.example:443/":   {"10.0.0.1:443 plain http", "1.1.1.1:443 plain http", "169.254.169.254:443 plain http", "[2a00::1]:443 plain http"},
	} {
		verdicts, err := guard.Judge(t.Context(), parsed(t, rawURL))
		if err != nil || len(verdicts) != len(want) {
			t.Errorf("Judge(%s) = %v, %v", rawURL, verdicts, err)
			continue
		}
		for i, v := range verdicts {
			addr, text, _ := strings.Cut(want[i], " ")
			if v.Addr.String() != addr || (v.Err == nil) != (text == "ok") || v.Err != nil && (!errors.Is(v.Err, egress.ErrBlocked) || !strings.Contains(v.Err.Error(), text)) {
				t.Errorf("Judge(%s)[%d] = %s %v, want %s", rawURL, i, v.Addr, v.Err, want[i])
			}
		}
	}
	if _, err := guard.Judge(t.Context(), parsed(t, "https://unknown.example/")); outcome.ClassOf(err) != outcome.ClassDNS {
		t.Errorf("Judge of an unknown name = %v", err)
	}
}
