package admin

import (
	"bufio"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"

	"fanjet/internal/secret"
)

func zapString(name, value string) zapcore.Field { return zap.String(name, value) }

// newServer is a listener without an installation.
func newServer(t *testing.T, settings Settings) *Server {
	t.Helper()
	s, err := New(Options{Settings: settings, Gatherer: prometheus.NewRegistry(), Ready: func() error { return errors.New("a reason") }})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// A page that somebody has open in a browser changes nothing, whatever it makes
// the browser send.
func TestCrossOrigin(t *testing.T) {
	t.Parallel()
	w := newWorld(t, Settings{Listen: "127.0.0.1:0"})
	for _, tt := range []struct {
		name    string
		headers map[string]string
		status  int
	}{
		{"a program", nil, 200},
		{"a page of its own", map[string]string{"Origin": w.url, "Sec-Fetch-Site": "same-origin"}, 200},
		{"another page", map[string]string{"Origin": "https://attacker.example", "Sec-Fetch-Site": "cross-site"}, 403},
		{"another page, by a form", map[string]string{"Origin": "https://attacker.example", "Sec-Fetch-Site": "cross-site", "Content-Type": "text/plain"}, 403},
		{"another page in an old browser", map[string]string{"Origin": "https://attacker.example"}, 403},
		{"a sandboxed page", map[string]string{"Origin": "null"}, 403},
		{"another port of this machine", map[string]string{"Origin": "http://127.0.0.1:1", "Sec-Fetch-Site": "same-site"}, 403},
	} {
		before := len(w.records())
		resp, body := w.do("POST", "/api/v1/endpoints/billing/pause", "", "{}", func(r *http.Request) {
			for name, value := range tt.headers {
				r.Header.Set(name, value)
			}
		})
		if resp.StatusCode != tt.status {
			t.Errorf("%s: %d %s, want %d", tt.name, resp.StatusCode, body, tt.status)
		}
		if left := len(w.records()) - before; left != 0 && tt.status != 200 {
			t.Errorf("%s: something was done", tt.name)
		}
		if resp.Header.Get("Access-Control-Allow-Origin") != "" {
			t.Errorf("%s: others may read the answer", tt.name)
		}
	}
	for name, want := range map[string]string{
		"Content-Security-Policy": "default-src 'none'", "X-Frame-Options": "DENY", "Cache-Control": "no-store",
		"Referrer-Policy": "no-referrer", "Cross-Origin-Resource-Policy": "same-origin",
	} {
		for _, path := range []string{"/", "/api/v1/endpoints", "/nowhere"} {
			if resp, _ := w.do("GET", path, "", ""); !strings.Contains(resp.Header.Get(name), want) {
				t.Errorf("%s of %s is %q", name, path, resp.Header.Get(name))
			}
		}
	}
}

// A name that was made to resolve here gets nothing, unless it is one of ours.
func TestHosts(t *testing.T) {
	t.Parallel()
	w := newWorld(t, Settings{Listen: "127.0.0.1:0", Hosts: []string{"fanjet.example.com"}})
	for host, status := range map[string]int{
		"fanjet.example.com": 200, "FANJET.example.com:8422": 200, "localhost:8422": 200, "127.0.0.1": 200,
		"[::1]": 200, "[::1]:8422": 200, "[0:0:0:0:0:0:0:1]:1": 200, "localhost:": 200, "localhost:65535": 200, "localhost:00080": 200, "LOCALHOST:9": 200,
		"localhost:0": 400, "localhost:65536": 400, "localhost:99999": 400, "127.0.0.1:123456789012345678901": 400, "localhost:-1": 400,
		"localhost:+80": 400, "localhost:http": 400, "localhost:80:80": 421, "localhost:0x50": 400, "[::1]:65536": 400, "[::1]:x": 400,
		"[::1": 421, "[localhost]": 421, "[127.0.0.1]:80": 421, "[::1]80": 421, "::1": 421, ":8422": 421, ":99999": 400, "fanjet.example.com:70000": 400, "attacker.example:70000": 400,
		"attacker.example": 421, "fanjet.example.com.attacker.example": 421, "x.fanjet.example.com": 421, "10.0.0.1": 421,
	} {
		for _, method := range []string{"GET", "POST"} {
			path := "/api/v1/endpoints"
			if method == "POST" {
				path += "/billing/pause"
			}
			if resp, body := w.do(method, path, "", "", func(r *http.Request) { r.Host = host }); resp.StatusCode != status {
				t.Errorf("%s of %s: %d %s, want %d", method, host, resp.StatusCode, body, status)
			} else if status != 200 {
				checkProblem(t, host, resp, body)
			}
		}
	}
}

func TestBodies(t *testing.T) {
	t.Parallel()
	w := newWorld(t, Settings{Listen: "127.0.0.1:0"})
	const path = "/api/v1/endpoints/billing/pause"
	for name, tt := range map[string]struct {
		body, contentType string
		status            int
	}{
		"none":             {"", "", 200},
		"JSON":             {`{"reason":"x"}`, "application/json; charset=utf-8", 200},
		"largest":          {`{"reason":"` + strings.Repeat("x", maxReason) + `"}`, "application/json", 200},
		"too large":        {`{"reason":"` + strings.Repeat("x", maxBody) + `"}`, "application/json", 413},
		"too long reason":  {`{"reason":"` + strings.Repeat("x", maxReason+1) + `"}`, "application/json", 400},
		"not JSON":         {"reason=x", "application/json", 400},
		"a form":           {"reason=x", "application/x-www-form-urlencoded", 415},
		"as text":          {`{"reason":"x"}`, "text/plain", 415},
		"an unknown field": {`{"raeson":"x"}`, "application/json", 400},
		"another type":     {`{"reason":1}`, "application/json", 400},
		"two values":       {`{} {}`, "application/json", 400},
		"a deep one":       {strings.Repeat("[", 30_000), "application/json", 400},
	} {
		resp, body := w.do("POST", path, "", tt.body, func(r *http.Request) { r.Header.Set("Content-Type", tt.contentType) })
		if resp.StatusCode != tt.status {
			t.Errorf("%s: %d %s, want %d", name, resp.StatusCode, body, tt.status)
		}
		if tt.status != 200 {
			checkProblem(t, name, resp, body)
		}
	}
	for _, query := range []string{"?x=1", "?limit=x", "?limit=-1", "?limit=1001", "?limit=0", "?limit=1&limit=2", "?since=yesterday", "?reason=bored", "?%zz", "?after=-1", "?endpoint=", "?id=%20", "?reason=&endpoint=billing", "?since="} {
		resp, body := w.do("GET", "/api/v1/dead-letters"+query, "", "")
		if resp.StatusCode != 400 {
			t.Errorf("%s: %d %s, want 400", query, resp.StatusCode, body)
		}
	}
}

// A client that does not send what it announced is cut off.
func TestSlowClient(t *testing.T) {
	t.Parallel()
	for name, sent := range map[string]string{
		"headers":      "GET /livez HTTP/1.1\r\nHost: localhost\r\nX-Slow: ",
		"body":         "POST /api/v1/endpoints/billing/pause HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 10\r\n\r\n{",
		"nothing":      "",
		"request line": "GET ",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newServer(t, Settings{Listen: "127.0.0.1:0"})
			s.Attach(&Installation{})
			s.http.ReadHeaderTimeout, s.http.ReadTimeout = 100*time.Millisecond, 100*time.Millisecond
			serve(t, s)
			conn, err := net.Dial("tcp", s.Addr())
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			if _, err := fmt.Fprint(conn, sent); err != nil {
				t.Fatal(err)
			}
			// It ends by itself, or this waits for ever.
			reader := bufio.NewReader(conn)
			for err == nil {
				_, err = reader.ReadByte()
			}
		})
	}
}

// There are never more than so many connections. The one that has been idle the
// longest makes room; one on which a request is being answered does not.
func TestConnectionsAreBounded(t *testing.T) {
	t.Parallel()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	bounded := newConnections(listener, 2, false)
	accepted := make(chan *connection)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		for {
			conn, err := bounded.Accept()
			if err != nil {
				return
			}
			accepted <- conn.(*connection)
		}
	}()
	dial := func() net.Conn {
		t.Helper()
		conn, err := net.Dial("tcp", listener.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { conn.Close() })
		return conn
	}
	dial()
	first := <-accepted
	idle := dial()
	second := <-accepted
	endFirst := first.answers()
	dial()
	third := <-accepted // although the first is older
	if _, err := idle.Read(make([]byte, 1)); err == nil {
		t.Error("the idle connection is still open")
	}
	_ = second.Close() // frees no second place
	endThird := third.answers()

	waits := dial()
	select {
	case <-accepted:
		t.Error("a third connection was accepted")
	case <-time.After(50 * time.Millisecond): // it only makes the test stricter
	}
	endFirst()
	fourth := <-accepted
	if fourth.RemoteAddr().String() != waits.LocalAddr().String() {
		t.Error("another connection was accepted")
	}
	endThird()
	if n := len(bounded.all); n != 2 {
		t.Errorf("%d connections", n)
	}
	if err := bounded.Close(); err != nil {
		t.Error(err)
	}
	<-ended
}

// Whoever holds all connections, and asks nothing, keeps nobody out.
func TestIdleConnectionsKeepNobodyOut(t *testing.T) {
	t.Parallel()
	server := newServer(t, Settings{Listen: "127.0.0.1:0"})
	serve(t, server)
	address := server.Addr()
	for range 2 * maxConnections {
		conn, err := net.Dial("tcp", address)
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		if _, err := conn.Write([]byte("GET /livez HTTP/1.1\r\nHost: ")); err != nil && !errors.Is(err, syscall.EPIPE) && !errors.Is(err, syscall.ECONNRESET) {
			t.Fatal(err)
		}
	}
	resp, err := http.Get("http://" + address + "/livez")
	if err != nil {
		t.Fatal(err)
	}
	if resp.Body.Close(); resp.StatusCode != http.StatusOK {
		t.Errorf("/livez answered %d", resp.StatusCode)
	}
}

func TestRates(t *testing.T) {
	t.Parallel()
	w := newWorld(t, Settings{Listen: "127.0.0.1:0", Tokens: tokens()})
	w.server.requests = newClientLimits(1e-6, 3)
	w.server.failures = newClientLimits(1e-6, 1)
	get := func(token string) (int, string) {
		resp, _ := w.do("GET", "/api/v1/audit", token, "")
		return resp.StatusCode, resp.Header.Get("Retry-After")
	}
	for i, want := range []int{401, 429} {
		if status, retry := get("wrong-wrong-wrong-wrong-wrong"); status != want || (want == 429) != (retry != "") {
			t.Errorf("wrong token %d: %d, Retry-After %q, want %d", i, status, retry, want)
		}
	}
	// The address has one left, and that is for everybody without a token.
	if resp, _ := w.do("GET", "/livez", "", ""); resp.StatusCode != 200 {
		t.Errorf("/livez: %d", resp.StatusCode)
	}
	if resp, body := w.do("GET", "/livez", "", ""); resp.StatusCode != 429 {
		t.Errorf("/livez: %d, want 429", resp.StatusCode)
	} else {
		checkProblem(t, "rate", resp, body)
	}
	// Tokens have their own, however much others fail from the same address.
	for i, want := range []int{200, 200, 200, 429} {
		if status, _ := get(tokenOf(ScopeRead)); status != want {
			t.Errorf("request %d with a token: %d, want %d", i, status, want)
		}
	}
	if status, _ := get(tokenOf(ScopeAdmin)); status != 200 {
		t.Errorf("another token: %d", status)
	}
}

func TestLimits(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	l := newClientLimits(1, 2)
	allowed := func(name string) bool { ok, _ := l.allow(name, now); return ok }
	first, second, third := allowed("a"), allowed("a"), allowed("a")
	if !first || !second || third || !allowed("b") {
		t.Error("a client does not have two")
	}
	if ok, wait := l.allow("a", now); ok || wait != time.Second {
		t.Errorf("a third: %v, after %v", ok, wait)
	}
	now = now.Add(time.Second)
	if !allowed("a") || allowed("a") {
		t.Error("a second later there is not one more")
	}
	// More clients than are remembered share what is left.
	for i := range maxClients - 2 {
		allowed(fmt.Sprint("client ", i))
	}
	if len(l.clients) != maxClients {
		t.Errorf("%d clients are remembered, want %d", len(l.clients), maxClients)
	}
	if !allowed("new 1") || !allowed("new 2") || allowed("new 3") {
		t.Error("those that are not remembered do not share")
	}
	if allowed("a") {
		t.Error("one that is remembered lost its limit")
	}
	// Those that have all their allowance again make room.
	now = now.Add(3 * time.Second)
	if !allowed("new 3") || len(l.clients) != 1 {
		t.Errorf("%d clients are remembered, want one", len(l.clients))
	}
	for remote, want := range map[string]string{
		"10.0.0.1:1": "10.0.0.1", "[::1]:1": "::1", "[2001:db8:1:2:3:4:5:6]:1": "2001:db8:1:2::/64", "[2001:db8:1:2::9]:7": "2001:db8:1:2::/64", "pipe": "pipe",
	} {
		if got := clientAddress(remote); got != want {
			t.Errorf("clientAddress(%s) = %s, want %s", remote, got, want)
		}
	}
}

func TestKeyring(t *testing.T) {
	t.Parallel()
	keys := newKeyring(tokens())
	for i, token := range tokens() {
		if k, ok := keys.find(token.Secret.Reveal()); !ok || k.name != token.Name || k.scope != token.Scope || keys[i].name != k.name {
			t.Errorf("%s finds %+v, %v", token.Name, k, ok)
		}
	}
	for _, token := range []string{"", tokenOf(ScopeRead) + "x", tokenOf(ScopeRead)[1:], strings.ToUpper(tokenOf(ScopeRead)), "\x00"} {
		if k, ok := keys.find(token); ok {
			t.Errorf("%q finds %s", token, k.name)
		}
	}
	if _, ok := newKeyring(nil).find(""); ok {
		t.Error("no token opens a listener without any")
	}
	for header, want := range map[string]string{
		"Bearer abc": "abc", "bearer abc": "abc", "Bearer  abc": "abc", "Basic abc": "", "abc": "", "Bearer": "", "": "",
		"Bearer " + strings.Repeat("x", maxToken+1): "",
	} {
		token, given := bearer(&http.Request{Header: http.Header{"Authorization": {header}}})
		if token != want || !given {
			t.Errorf("%q gives %q, %v", header, token, given)
		}
	}
	if token, given := bearer(&http.Request{Header: http.Header{"Authorization": {"Bearer a", "Bearer b"}}}); token != "" || !given {
		t.Errorf("two headers give %q, %v", token, given)
	}
	if token, given := bearer(&http.Request{}); token != "" || given {
		t.Errorf("no header gives %q, %v", token, given)
	}
}

// What would let somebody in who must not be is refused by New as well as by the
// configuration.
func TestSettingsAreRefused(t *testing.T) {
	t.Parallel()
	one := func(change func(*Token)) []Token {
		list := tokens()
		change(&list[1])
		return list
	}
	for name, tt := range map[string]struct {
		settings Settings
		want     string
	}{
		"elsewhere":            {Settings{Listen: "10.0.0.1:1"}, "admin.tokens"},
		"elsewhere, no TLS":    {Settings{Listen: "10.0.0.1:1", Tokens: tokens()}, "needs TLS"},
		"everywhere":           {Settings{Listen: "0.0.0.0:1", Tokens: tokens(), BehindTLSProxy: true}, "admin.hosts"},
		"a proxy":              {Settings{Listen: "127.0.0.1:0", BehindTLSProxy: true}, "admin.tokens"},
		"a name":               {Settings{Listen: "fanjet.example.com:1", Tokens: tokens(), BehindTLSProxy: true}, "IP address"},
		"a short token":        {Settings{Listen: "127.0.0.1:0", Tokens: one(func(t *Token) { t.Secret = secret.New("short") })}, "at least 24"},
		"no token":             {Settings{Listen: "127.0.0.1:0", Tokens: one(func(t *Token) { t.Secret = secret.Value{} })}, "at least 24"},
		"a token with a space": {Settings{Listen: "127.0.0.1:0", Tokens: one(func(t *Token) { t.Secret = secret.New(strings.Repeat("x ", 20)) })}, "characters"},
		"a long token":         {Settings{Listen: "127.0.0.1:0", Tokens: one(func(t *Token) { t.Secret = secret.New(strings.Repeat("x", 2000)) })}, "at most"},
		"two of a name":        {Settings{Listen: "127.0.0.1:0", Tokens: append(tokens(), tokens()[0])}, "two tokens"},
		"no scope":             {Settings{Listen: "127.0.0.1:0", Tokens: one(func(t *Token) { t.Scope = "root" })}, "no scope"},
		"no name":              {Settings{Listen: "127.0.0.1:0", Tokens: one(func(t *Token) { t.Name = "" })}, "the name"},
		"no certificate":       {Settings{Listen: "127.0.0.1:0", TLS: TLS{"missing.crt", "missing.key"}}, "admin.tls"},
	} {
		s, err := New(Options{Settings: tt.settings, Gatherer: prometheus.NewRegistry(), Ready: func() error { return nil }})
		if err == nil {
			s.listener.Close()
		}
		if err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %v, want an error about %s", name, err, tt.want)
		}
		if err != nil && strings.Contains(err.Error(), "x x") {
			t.Errorf("%s: the error shows a token: %v", name, err)
		}
	}
}

// Why a gateway is not ready is for those who may look.
func TestReasonsAreForReaders(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		settings Settings
		token    string
		shown    bool
	}{
		"this machine":           {Settings{Listen: "127.0.0.1:0", Tokens: tokens()}, "", true},
		"from elsewhere":         {Settings{Listen: "127.0.0.1:0", Tokens: tokens(), BehindTLSProxy: true}, "", false},
		"from elsewhere, reader": {Settings{Listen: "127.0.0.1:0", Tokens: tokens(), BehindTLSProxy: true}, tokenOf(ScopeRead), true},
	} {
		url := serve(t, newServer(t, tt.settings))
		for _, query := range []string{"", "?verbose"} {
			resp, body := request(t, &http.Transport{}, "GET", url+"/readyz"+query, tt.token, "")
			if resp.StatusCode != 503 || strings.Contains(body, "a reason") != tt.shown {
				t.Errorf("%s: %d %q", name, resp.StatusCode, body)
			}
		}
	}
}
