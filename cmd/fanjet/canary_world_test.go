package main

import (
	"bytes"
	"context"
	"encoding/base64"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/nats-io/nats.go"
)

// canaryKey is the key of a webhook secret that can be told from all others.
func canaryKey(name string) string {
	return "CANARY-" + name + strings.Repeat("x", 32-len("CANARY-"+name))
}

func canarySecret(name string) string {
	return "whsec_" + base64.StdEncoding.EncodeToString([]byte(canaryKey(name)))
}

// Texts that must be seen nowhere.
const (
	canaryPayload = "CANARY-payload"
	canaryHeader  = "CANARY-producer-header"
	canaryQuery   = "CANARY-query-string"
	canaryOwn     = "CANARY-configured-header"
	canaryBroken  = "CANARY-broken-secret"
	canaryLogin   = "CANARY-password"
	canaryAnswer  = "CANARY-answer"
	canaryToken   = "CANARY-token-of-an-operator-0123456789"
	canaryGuess   = "CANARY-token-that-somebody-guessed-0123"
)

func canaries() []canary {
	all := []canary{
		{"the payload of an event", canaryPayload},
		{"the header of a producer", canaryHeader},
		{"the query string of a URL", canaryQuery},
		{"a configured header", canaryOwn},
		{"a secret that is none", canaryBroken},
		{"a password in a URL", canaryLogin},
		{"what a receiver answered", canaryAnswer},
		{"the token of an operator", canaryToken},
		{"a token that is none", canaryGuess},
	}
	for _, name := range []string{"env", "file", "literal", "listen", "new", "misplaced"} {
		all = append(all, canary{"the secret " + name, canaryKey(name)})
	}
	return all
}

// blockedLater stands for a URL that is known when the gateway runs.
const blockedLater = "http://127.0.0.1:1"

// ofEvents are those that an operator may ask for.
func ofEvents() []string { return []string{canaryPayload, canaryHeader} }

// witness is a gateway with all that is confidential, and what was seen of it.
type witness struct {
	*testing.T
	dir, config string
	client      string // the configuration with the port of the running NATS server
	nats, admin string // URLs of the running gateway
	log         *lockedBuffer
	mu          sync.Mutex
	requests    map[string]int // by endpoint
	seen        map[string]string
}

// ServeHTTP is the receivers, in trouble of many kinds.
func (w *witness) ServeHTTP(rw http.ResponseWriter, r *http.Request) {
	endpoint := strings.TrimPrefix(r.URL.Path, "/")
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return
	}
	w.mu.Lock()
	w.requests[endpoint]++
	w.mu.Unlock()
	if r.URL.Query().Get("token") != canaryQuery || r.Header.Get("Authorization") != "Bearer "+canaryOwn {
		w.Errorf("%s lacks its query string or its header", endpoint)
	}
	switch endpoint {
	case "fail": // as servers do that show the request on their page of errors
		rw.WriteHeader(http.StatusInternalServerError)
		fmt.Fprintf(rw, "failed: %s by %s: %q %s", r.URL, r.Header.Get("Authorization"), r.Header["Webhook-Signature"], body)
		return
	case "gone":
		rw.WriteHeader(http.StatusGone)
		fmt.Fprintf(rw, "%s is gone, %s", body, strings.Repeat("for ever and ", 20))
	case "redirect":
		rw.Header().Set("Location", "https://other.example.com/?token="+canaryAnswer)
		rw.WriteHeader(http.StatusFound)
		return
	case "panic":
		panic(http.ErrAbortHandler)
	case "hang":
		<-r.Context().Done()
	case "cut":
		rw.Header().Set("Content-Length", "1000")
	}
	fmt.Fprint(rw, canaryAnswer)
}

// troubles are the endpoints whose deliveries end as dead letters.
func troubles() []string {
	return []string{"fail", "gone", "redirect", "panic", "hang", "garbage", "refused", "tls", "blocked", "unverified"}
}

func newWitness(t *testing.T) *witness {
	t.Helper()
	dir := t.TempDir()
	return &witness{
		T: t, dir: dir, config: filepath.Join(dir, "fanjet.yaml"), log: &lockedBuffer{},
		requests: map[string]int{}, seen: map[string]string{},
	}
}

// configure writes a configuration with every endpoint and one secret in each
// of the places where they can be.
func (w *witness) configure() (text string) {
	w.Helper()
	quiet := log.New(io.Discard, "", 0)
	hook := httptest.NewUnstartedServer(w)
	hook.Config.ErrorLog = quiet
	hook.Start()
	w.Cleanup(hook.Close)
	secure := httptest.NewUnstartedServer(w)
	secure.Config.ErrorLog = quiet
	secure.StartTLS()
	w.Cleanup(secure.Close)
	closed := httptest.NewServer(w)
	closed.Close()
	urls := map[string]string{
		"tls": secure.URL, "refused": closed.URL, "garbage": "http://" + w.garbage(), "blocked": blockedLater,
		"unverified": "http://" + w.listen(),
	}
	var b strings.Builder
	fmt.Fprintf(&b, "version: 1\nnats: {embedded: {store_dir: data, listen: \"127.0.0.1:0\", durability: 1s}}\nadmin: {listen: \"127.0.0.1:0\", tokens: [{name: ops, token: \"env:CANARY_TOKEN\", scope: admin}]}\n")
	b.WriteString("egress: {allow_http: true, allow_cidrs: [127.0.0.0/8]}\n")
	fmt.Fprintf(&b, "defaults:\n  headers: {Authorization: Bearer %s}\n  timeout: 2s\n  retry: {schedule: [100ms]}\n", canaryOwn)
	fmt.Fprintf(&b, "  secrets: [\"env:CANARY_ENV\", \"file:secret\", \"%s\"]\nendpoints:\n", canarySecret("literal"))
	names := append([]string{"ok", "cut"}, troubles()...)
	for _, name := range names {
		base := urls[name]
		if base == "" {
			base = hook.URL
		}
		fmt.Fprintf(&b, "  %s: {url: \"%s/%s?token=%s\"}\n", name, base, name, canaryQuery)
	}
	b.WriteString("subscriptions:\n")
	for _, name := range names {
		fmt.Fprintf(&b, "  - {name: %s, subjects: [events.%s], endpoints: [%s]}\n", name, name, name)
	}
	b.WriteString("  - {name: filtered, subjects: [events.ok], filter: \"int(data.text) > 0 || headers['X-Producer'] == 'x'\", endpoints: [fail]}\n")
	w.replace("fanjet.yaml", b.String())
	return b.String()
}

// replace puts a file in place at once.
func (w *witness) replace(name, text string) {
	w.Helper()
	path := filepath.Join(w.dir, name)
	if err := os.WriteFile(path+".new", []byte(text), 0o600); err != nil {
		w.Fatal(err)
	}
	if err := os.Rename(path+".new", path); err != nil {
		w.Fatal(err)
	}
}

// garbage answers what is not HTTP.
func (w *witness) garbage() string {
	w.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		w.Fatal(err)
	}
	var serving sync.WaitGroup
	serving.Go(func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			_, _ = io.WriteString(conn, "220 mail.example.com ready\r\n\r\n")
			_ = conn.(*net.TCPConn).CloseWrite()
			_, _ = io.Copy(io.Discard, conn)
			_ = conn.Close()
		}
	})
	w.Cleanup(func() { _ = listener.Close(); serving.Wait() })
	return listener.Addr().String()
}

// background runs fanjet until the end of the test, and returns the first group
// of what its output matches.
func (w *witness) background(what string, out *lockedBuffer, pattern string, args ...string) (found string, stop func()) {
	w.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		run(ctx, args, streams{in: strings.NewReader(""), out: out, err: out})
	}()
	stop = sync.OnceFunc(func() { cancel(); <-ended })
	w.Cleanup(stop)
	ready := regexp.MustCompile(pattern)
	waitUntil(w.T, what+" runs", func() bool {
		select {
		case <-ended:
			w.Fatalf("%s ended: %s", what, out)
		default:
		}
		return ready.MatchString(out.String())
	})
	return ready.FindStringSubmatch(out.String())[1], stop
}

// listen is a development receiver that has another secret.
func (w *witness) listen() string {
	w.Helper()
	out := &lockedBuffer{}
	addr, stop := w.background("listen", out, `listening on http://([0-9.:]+)`,
		"listen", "--addr", "127.0.0.1:0", "--secret", canarySecret("listen"))
	w.Cleanup(func() {
		stop()
		if !strings.Contains(out.String(), "no secret") && out.String() == "" {
			w.Error("listen prints nothing")
		}
		w.check("listen", out.String(), ofEvents()...)
	})
	return addr
}

// check looks for what must not be in a text.
func (w *witness) check(where, text string, allowed ...string) {
	w.Helper()
	must := slices.DeleteFunc(canaries(), func(c canary) bool { return slices.Contains(allowed, c.text) })
	for _, leak := range find(text, must) {
		w.Errorf("%s shows %s", where, leak)
	}
}

// fanjet runs a command beside the gateway, and looks at what it says.
func (w *witness) fanjet(allowed []string, args ...string) string {
	w.Helper()
	var out, errs bytes.Buffer
	run(w.Context(), append([]string{"--config", w.config, "--log-level", "debug"}, args...), streams{in: strings.NewReader(""), out: &out, err: &errs})
	text := out.String() + errs.String()
	if text == "" {
		w.Errorf("fanjet %s says nothing", strings.Join(args, " "))
	}
	w.check("fanjet "+strings.Join(args[:min(3, len(args))], " "), text, allowed...)
	return text
}

// beside is fanjet for commands that ask NATS, which look for the embedded server
// of the gateway.
func (w *witness) beside(allowed []string, args ...string) string {
	w.Helper()
	return w.fanjet(allowed, append(args, "--config", w.client)...)
}

// connect is for looking behind the commands.
func (w *witness) connect() *nats.Conn {
	w.Helper()
	key, err := nats.NkeyOptionFromSeed(filepath.Join(w.dir, "data", "operator.nk"))
	if err != nil {
		w.Fatal(err)
	}
	nc, err := nats.Connect(w.nats, key)
	if err != nil {
		w.Fatal(err)
	}
	w.Cleanup(nc.Close)
	return nc
}

func (w *witness) logged(text string) bool { return strings.Contains(w.log.String(), text) }
