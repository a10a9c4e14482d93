package httpsend

import (
	"bufio"
	"crypto/tls"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"fanjet/internal/secret"
	"fanjet/subscriber/egress"
	"fanjet/subscriber/outcome"
)

// connectProxy is a proxy that answers CONNECT and nothing else.
type connectProxy struct {
	url    string
	server net.Listener
	answer func(net.Conn, *http.Request) // nil: connect

	mu      sync.Mutex
	targets []string
	wg      sync.WaitGroup
	ended   chan struct{}
}

func newConnectProxy(t *testing.T, config *tls.Config, answer func(net.Conn, *http.Request)) *connectProxy {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &connectProxy{url: "http://" + l.Addr().String(), server: l, answer: answer, ended: make(chan struct{})}
	if config != nil {
		p.url, l = "https://"+l.Addr().String(), tls.NewListener(l, config)
	}
	p.wg.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			p.wg.Go(func() { <-p.ended; _ = c.Close() })
			p.wg.Go(func() { p.serve(c) })
		}
	})
	t.Cleanup(func() { _ = l.Close(); close(p.ended); p.wg.Wait() })
	return p
}

func (p *connectProxy) serve(c net.Conn) {
	defer func() { _ = c.Close() }()
	r := bufio.NewReader(c)
	req, err := http.ReadRequest(r)
	if err != nil {
		return
	}
	p.mu.Lock()
	p.targets = append(p.targets, req.Method+" "+req.RequestURI+" "+req.Host)
	p.mu.Unlock()
	if p.answer != nil {
		p.answer(c, req)
		return
	}
	out, err := net.Dial("tcp", req.RequestURI)
	if err != nil {
		_, _ = io.WriteString(c, "HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\n\r\n")
		return
	}
	defer func() { _ = out.Close() }()
	_, _ = io.WriteString(c, "HTTP/1.1 200 Connection established\r\nVia: test\r\n\r\n")
	p.wg.Go(func() { <-p.ended; _ = out.Close() })
	p.wg.Go(func() { _, _ = io.Copy(out, r); _ = out.Close() })
	_, _ = io.Copy(c, out)
}

func (p *connectProxy) asked() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Clone(p.targets)
}

// through returns a policy with a proxy.
func through(t *testing.T, proxy string, policy egress.Policy) egress.Policy {
	t.Helper()
	var err error
	if policy.Proxy.URL, err = egress.ParseProxy(proxy); err != nil {
		t.Fatal(err)
	}
	return policy
}

// The proxy is asked for the address that was checked; what is spoken through it
// is the same as without it.
func TestThroughAProxy(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name          string
		secure, http2 bool // the endpoint
		secureProxy   bool
	}{
		{"http", false, false, false},
		{"https", true, false, false},
		{"HTTP/2", true, true, false},
		{"http, TLS with the proxy", false, false, true},
		{"https, TLS with the proxy", true, false, true},
		{"HTTP/2, TLS with the proxy", true, true, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			var requests atomic.Int32
			s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				requests.Add(1)
				body, _ := io.ReadAll(r.Body)
				if host, _, _ := net.SplitHostPort(r.Host); host != "www.example.com" || string(body) != "{}" || r.ProtoMajor == 2 != tt.http2 || tt.secure && r.TLS.ServerName != "www.example.com" {
					t.Errorf("%s at %s, TLS for %+v: %q", r.Proto, r.Host, r.TLS, body)
				}
				w.WriteHeader(http.StatusNoContent)
			}))
			s.EnableHTTP2 = tt.http2
			if tt.secure {
				s.StartTLS()
			} else {
				s.Start()
			}
			t.Cleanup(s.Close)
			certified := httptest.NewTLSServer(nil)
			t.Cleanup(certified.Close)
			var config *tls.Config
			if tt.secureProxy {
				config = &tls.Config{Certificates: certified.TLS.Certificates, MinVersion: tls.VersionTLS12}
			}
			proxy := newConnectProxy(t, config, nil)
			resolver := new(names)
			resolver.set("www.example.com", []string{"127.0.0.1"})
			target, _ := url.Parse(s.URL)
			policy := through(t, proxy.url, loopback)
			sender := guarded(t, target.Scheme+"://www.example.com:"+target.Port(), policy, resolver)
			roots := certified.Client().Transport.(*http.Transport).TLSClientConfig.RootCAs
			trust(sender, roots)
			sender.transport.guard = egress.New(policy, egress.GuardOptions{Resolve: resolver.lookup, ProxyRoots: roots})
			for range 3 {
				if r := try(t.Context(), sender, []byte("{}")); r.Status != 204 {
					t.Fatalf("%+v", r)
				}
			}
			address := "127.0.0.1:" + target.Port()
			if got, want := proxy.asked(), []string{"CONNECT " + address + " " + address}; !slices.Equal(got, want) {
				t.Errorf("the proxy was asked %q, want %q: one connection, to the address", got, want)
			}
			if n := requests.Load(); n != 3 {
				t.Errorf("%d requests", n)
			}
		})
	}
}

// What is forbidden without a proxy is forbidden with one, and it hears nothing.
func TestProxyIsAskedForAllowedAddressesOnly(t *testing.T) {
	t.Parallel()
	proxy := newConnectProxy(t, nil, nil)
	at := netip.MustParseAddrPort(proxy.server.Addr().String())
	policy := through(t, proxy.url, egress.Policy{AllowHTTP: true, AllowCIDRs: allowing(t, "127.0.0.0/8"), Ports: []uint16{443}})
	resolver := new(names)
	resolver.set("inside.example", []string{"10.0.0.1", "169.254.169.254", "::1"})
	resolver.set("proxy.example", []string{"127.0.0.1"})
	for rawURL, text := range map[string]string{
		"http://inside.example/":                          "not a public address",
		"http://169.254.169.254/latest/":                  "egress.allow_metadata",
		"http://proxy.example:" + portText(at):            "is the proxy of egress.proxy",
		"http://" + at.String() + "/":                     "is the proxy of egress.proxy",
		"http://[::ffff:127.0.0.1]:" + portText(at) + "/": "is the proxy of egress.proxy",
	} {
		r := try(t.Context(), guarded(t, rawURL, policy, resolver), []byte("{}"))
		if r.Class != outcome.ClassBlocked || !strings.Contains(r.Failure(), text) {
			t.Errorf("%s: %+v, want it blocked with %q", rawURL, r, text)
		}
	}
	if asked := proxy.asked(); len(asked) != 0 {
		t.Errorf("the proxy was asked %q", asked)
	}
}

func portText(a netip.AddrPort) string { _, port, _ := net.SplitHostPort(a.String()); return port }

// Whatever is wrong with the proxy is a connection that failed, with a text that
// says so, in bounded time and memory.
func TestProxyFails(t *testing.T) {
	t.Parallel()
	say := func(text string) func(net.Conn, *http.Request) {
		return func(c net.Conn, _ *http.Request) { _, _ = io.WriteString(c, text) }
	}
	endless := func(c net.Conn, _ *http.Request) {
		_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\nX: ")
		for {
			if _, err := io.WriteString(c, strings.Repeat("x", 4096)); err != nil {
				return
			}
		}
	}
	hang := func(c net.Conn, _ *http.Request) { _, _ = c.Read(make([]byte, 1)) }
	for _, tt := range []struct {
		name   string
		answer func(net.Conn, *http.Request)
		asked  int // of two addresses
		want   string
	}{
		{"asks for a password", say("HTTP/1.1 407 No\r\nProxy-Authenticate: Basic\r\nContent-Length: 0\r\n\r\n"), 2, "asks for a user (407): set egress.proxy.username and password"},
		{"forbids", say("HTTP/1.1 403 No\r\nContent-Length: 0\r\n\r\n"), 2, "its rules forbid it (403)"},
		{"cannot reach it", say("HTTP/1.1 502 No\r\nContent-Length: 4\r\n\r\nnope"), 2, "it answered 502 Bad Gateway"},
		{"redirects", say("HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1/\r\n\r\n"), 2, "it answered 302 Found"},
		{"speaks something else", say("SSH-2.0-OpenSSH_9.9\r\n"), 1, "does not answer CONNECT as it should"},
		{"closes", say(""), 1, "does not answer CONNECT as it should"},
		{"is cut off", say("HTTP/1.1 200 OK\r\nVia: "), 1, "does not answer CONNECT as it should"},
		{"says more", say("HTTP/1.1 200 OK\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"), 1, "something follows the answer"},
		{"has no end", endless, 1, "the answer is longer than 16384 bytes"},
		{"hangs", hang, 1, "does not answer"},
		{"hangs in its answer", func(c net.Conn, r *http.Request) { say("HTTP/1.1 200 OK\r\n")(c, r); hang(c, r) }, 1, "does not answer"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			proxy := newConnectProxy(t, nil, tt.answer)
			resolver := new(names)
			resolver.set("two.example", []string{"127.0.0.1", "127.0.0.2"})
			patience := time.Minute
			if strings.HasPrefix(tt.name, "hangs") {
				patience = time.Second
			}
			r := try(t.Context(), guarded(t, "http://two.example", through(t, proxy.url, loopback), resolver, func(o *Options) { o.Timeout = patience }), []byte("{}"))
			if r.Class != outcome.ClassConnect || !strings.Contains(r.Failure(), "the proxy of egress.proxy") || !strings.Contains(r.Failure(), tt.want) {
				t.Errorf("%s %q, want the class connect and %q", r.Class, r.Failure(), tt.want)
			}
			if asked := proxy.asked(); len(asked) != tt.asked {
				t.Errorf("the proxy was asked %q, want %d times", asked, tt.asked)
			}
		})
	}
	unused, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	nobody := "http://" + unused.Addr().String()
	_ = unused.Close()
	plain := newConnectProxy(t, nil, nil)
	for proxy, want := range map[string]string{
		nobody:                      "cannot be reached",
		"http://proxy.example:3128": "cannot be found",
		strings.Replace(plain.url, "http", "https", 1): "TLS handshake",
	} {
		r := try(t.Context(), guarded(t, "http://127.0.0.1", through(t, proxy, loopback), new(names)), []byte("{}"))
		if r.Class != outcome.ClassConnect || !strings.Contains(r.Failure(), "the proxy of egress.proxy "+want) && !strings.Contains(r.Failure(), want) {
			t.Errorf("%s: %s %q, want the class connect and %q", proxy, r.Class, r.Failure(), want)
		}
	}
}

func TestProxyGetsItsPassword(t *testing.T) {
	t.Parallel()
	const want = "Basic ZmFuamV0OmEgc2VjcmV0OndpdGggYSBjb2xvbg=="
	sent := make(chan string, 1)
	proxy := newConnectProxy(t, nil, func(c net.Conn, r *http.Request) {
		sent <- r.Header.Get("Proxy-Authorization")
		_, _ = io.WriteString(c, "HTTP/1.1 407 No\r\nContent-Length: 0\r\n\r\n")
	})
	policy := through(t, proxy.url, loopback)
	policy.Proxy.Username, policy.Proxy.Password = "fanjet", secret.New("a secret:with a colon")
	r := try(t.Context(), testSender(t, "http://127.0.0.1", policy), []byte("{}"))
	if got := <-sent; got != want {
		t.Errorf("the proxy got %q, want %q", got, want)
	}
	if text := r.Failure(); !strings.Contains(text, "does not accept the username and password (407)") || strings.Contains(text, "secret") {
		t.Errorf("%q", text)
	}
}

// The second address is asked for when the proxy cannot reach the first.
func TestProxyTriesEveryAddress(t *testing.T) {
	t.Parallel()
	port, requests, _ := hits(t, "127.0.0.5:0")
	proxy := newConnectProxy(t, nil, nil)
	resolver := new(names)
	resolver.set("two.example", []string{"127.0.0.6", "127.0.0.5"})
	if r := try(t.Context(), guarded(t, "http://two.example:"+port, through(t, proxy.url, loopback), resolver), []byte("{}")); r.Class != outcome.Class2xx || requests.Load() != 1 {
		t.Errorf("%+v, %d requests", r, requests.Load())
	}
	if asked := proxy.asked(); len(asked) != 2 {
		t.Errorf("the proxy was asked %q", asked)
	}
}

// childVariable marks the process that TestNoProxyFromTheEnvironment starts.
const childVariable = "FANJET_TEST_ENVIRONMENT"

// The proxies that the environment names are not used. It is read once a
// process, so this needs one of its own.
func TestNoProxyFromTheEnvironment(t *testing.T) {
	if os.Getenv(childVariable) != "" {
		target, _ := url.Parse("http://outside.example")
		if proxy, err := http.ProxyFromEnvironment(&http.Request{URL: target}); proxy == nil || err != nil {
			t.Fatalf("the environment names no proxy: %v, %v", proxy, err)
		}
		for _, secure := range []bool{false, true} {
			s := httptest.NewUnstartedServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
			s.EnableHTTP2 = true
			if secure {
				s.StartTLS()
			} else {
				s.Start()
			}
			u, _ := url.Parse(s.URL)
			resolver := new(names)
			resolver.set("www.example.com", []string{"127.0.0.1"})
			sender := guarded(t, u.Scheme+"://www.example.com:"+u.Port(), loopback, resolver)
			if secure {
				trust(sender, s.Client().Transport.(*http.Transport).TLSClientConfig.RootCAs)
			}
			for range 2 {
				if r := try(t.Context(), sender, []byte("{}")); r.Class != outcome.Class2xx {
					t.Errorf("secure: %v: %+v", secure, r)
				}
			}
			s.Close()
		}
		return
	}
	t.Parallel()
	proxy := newConnectProxy(t, nil, nil)
	cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestNoProxyFromTheEnvironment$")
	cmd.Env = append(os.Environ(), childVariable+"=1")
	for _, name := range []string{"HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"} {
		cmd.Env = append(cmd.Env, name+"="+proxy.url, strings.ToLower(name)+"="+proxy.url)
	}
	cmd.Env = append(cmd.Env, "NO_PROXY=", "no_proxy=")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("%v:\n%s", err, out)
	}
	if asked := proxy.asked(); len(asked) != 0 {
		t.Errorf("the proxy of the environment was asked %q", asked)
	}
}
