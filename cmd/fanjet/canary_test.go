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
	"runtime/pprof"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"fanjet/internal/wire"
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
)

func canaries() []canary {
	all := []canary{
		{"the payload of an event", canaryPayload}, {"the header of a producer", canaryHeader},
		{"the query string of a URL", canaryQuery}, {"a configured header", canaryOwn},
		{"a secret that is none", canaryBroken}, {"a password in a URL", canaryLogin}, {"what a receiver answered", canaryAnswer},
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
	nats, admin string // URLs of the running gateway
	log         *lockedBuffer
	mu          sync.Mutex
	requests    map[string]int // by endpoint
	seen        map[string]string
}

// ServeHTTP is the receivers, in trouble of many kinds.
func (w *witness) ServeHTTP(rw http.ResponseWriter, r *http.Request) {
	endpoint := strings.TrimPrefix(r.URL.Path, "/")
	if _, err := io.Copy(io.Discard, r.Body); err != nil {
		return
	}
	w.mu.Lock()
	w.requests[endpoint]++
	w.mu.Unlock()
	if r.URL.Query().Get("token") != canaryQuery || r.Header.Get("Authorization") != "Bearer "+canaryOwn {
		w.Errorf("%s lacks its query string or its header", endpoint)
	}
	switch endpoint {
	case "fail":
		rw.WriteHeader(http.StatusInternalServerError)
	case "gone":
		rw.WriteHeader(http.StatusGone)
	case "redirect":
		rw.Header().Set("Location", "https://other.example.com/?token="+canaryAnswer)
		rw.WriteHeader(http.StatusFound)
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
	fmt.Fprintf(&b, "version: 1\nnats: {embedded: {store_dir: data, listen: \"127.0.0.1:0\", durability: 1s}}\nadmin: {listen: \"127.0.0.1:0\"}\n")
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
	run(w.Context(), append(args, "--config", w.config, "--log-level", "debug"), streams{in: strings.NewReader(""), out: &out, err: &errs})
	text := out.String() + errs.String()
	if text == "" {
		w.Errorf("fanjet %s says nothing", strings.Join(args, " "))
	}
	w.check("fanjet "+strings.Join(args[:min(3, len(args))], " "), text, allowed...)
	return text
}

// beside is fanjet for commands that ask NATS.
func (w *witness) beside(allowed []string, args ...string) string {
	w.Helper()
	return w.fanjet(allowed, append(args, "--nats", w.nats)...)
}

func (w *witness) logged(text string) bool { return strings.Contains(w.log.String(), text) }

// Whatever happens, the log, metrics, errors, the output of commands and the
// answers of the gateway show no secret, no payload, no header of a producer or
// of the configuration, and no query string. What a command is for is excepted:
// `dlq show` and `dlq export` show events.
func TestCanaries(t *testing.T) {
	w := newWitness(t)
	t.Setenv("CANARY_ENV", canarySecret("env"))
	w.replace("secret", canarySecret("file"))
	good := w.configure()
	_, stop := w.background("serve", w.log, `"msg":"(ready)"`, "serve", "--config", w.config, "--log-level", "debug", "--log-format", "json")
	w.nats = regexp.MustCompile(`"nats":"([^"]+)"`).FindStringSubmatch(w.log.String())[1]
	w.admin = regexp.MustCompile(`"admin":"([^"]+)"`).FindStringSubmatch(w.log.String())[1]

	// The gateway's own listener can never be reached.
	good = strings.Replace(good, blockedLater, w.admin, 1)
	w.replace("fanjet.yaml", good)
	waitUntil(t, "it is in force", func() bool { return w.logged("configuration reloaded") })

	// Events of all outcomes.
	w.events()
	letters := func() string { return w.beside(nil, "dlq", "list", "-o", "json") }
	waitUntil(t, "all that fails is dead-lettered", func() bool {
		return strings.Count(letters(), `"event_id"`) >= len(troubles())
	})
	for _, name := range troubles() {
		if !strings.Contains(letters(), `"`+name+`"`) {
			t.Errorf("there is no dead letter of %s", name)
		}
	}
	w.commands()
	w.mistakes(good)
	w.listeners()
	w.stored()

	var stacks bytes.Buffer
	if err := pprof.Lookup("goroutine").WriteTo(&stacks, 2); err != nil {
		t.Fatal(err)
	}
	w.check("a dump of all goroutines", stacks.String())
	stop()
	w.check("the log", w.log.String())
	for _, line := range []string{`"level":"debug"`, `"attempt"`, "tls", "configuration", "test event"} {
		if !w.logged(line) {
			t.Errorf("the log has nothing of %q, so that it proves little", line)
		}
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, name := range []string{"ok", "cut", "fail", "gone", "redirect", "panic", "hang"} {
		if w.requests[name] == 0 {
			t.Errorf("%s got no request", name)
		}
	}
}

// events publishes one for each endpoint.
func (w *witness) events() {
	w.Helper()
	data := `{"text": "` + canaryPayload + `"}`
	for _, name := range append([]string{"ok", "cut", "nobody"}, troubles()...) {
		w.beside(nil, "publish", "events."+name, "--data", data, "--header", "X-Producer="+canaryHeader,
			"--header", "Content-Type=text/"+canaryHeader, "--header", "ce-source="+canaryHeader)
	}
	w.beside(nil, "publish", "events.ok", "--data", canaryPayload+" is no JSON", "--header", "X-Producer="+canaryHeader)
	w.beside(nil, "publish", "events.ok", "--data", data, "--header", "Nats-Expected-Stream="+canaryHeader)
}

// commands runs every command that tells of deliveries.
func (w *witness) commands() {
	w.Helper()
	for _, format := range []string{"table", "json"} {
		o := []string{"-o", format}
		w.beside(nil, append([]string{"dlq", "stats"}, o...)...)
		w.beside(nil, append([]string{"dlq", "list"}, o...)...)
		w.beside(ofEvents(), append([]string{"dlq", "show", "1"}, o...)...)
		w.beside(nil, append([]string{"dlq", "replay", "--dry-run"}, o...)...)
		w.beside(nil, append([]string{"endpoints", "list"}, o...)...)
		for _, name := range append([]string{"ok"}, troubles()...) {
			w.beside(nil, append([]string{"endpoints", "show", name}, o...)...)
			w.beside(nil, append([]string{"endpoints", "ping", name, "--timeout", "3s"}, o...)...)
		}
		w.fanjet(nil, append([]string{"check"}, o...)...)
		w.fanjet(nil, append([]string{"match", "--subject", "events.ok", "--data", `{"text": "` + canaryPayload + `"}`, "--header", "X-Producer=" + canaryHeader}, o...)...)
	}
	w.beside(ofEvents(), "dlq", "export")
	w.beside(nil, "endpoints", "pause", "ok", "--by", "somebody", "--reason", "test")
	w.beside(nil, "endpoints", "resume", "ok", "--by", "somebody")
	w.beside(nil, "dlq", "replay", "--endpoint", "fail", "--yes")
	w.beside(nil, "dlq", "purge", "--endpoint", "gone", "--yes")
	w.fanjet(nil, "ready")
	w.fanjet(nil, "publish", "events.ok", "--data", canaryPayload, "--nats", "nats://user:"+canaryLogin+"@127.0.0.1:1")
	w.fanjet(nil, "endpoints", "list", "--nats", "http://user:"+canaryLogin+"@127.0.0.1:1")
	w.fanjet(nil, "listen", "--secret", canaryBroken)
}

// mistakes puts configurations with mistakes in place, one after the other.
func (w *witness) mistakes(good string) {
	w.Helper()
	failures := func() int { return strings.Count(w.log.String(), "the new configuration is not used") }
	for _, change := range []struct{ file, text string }{
		{"secret", canaryBroken},
		{"secret", canarySecret("file")},
		{"fanjet.yaml", strings.NewReplacer(
			"timeout: 2s", "timeout: "+canarySecret("misplaced"),
			"version: 1", "version: 1\n"+canarySecret("misplaced")+": 1",
			"https://127", "https://user:"+canaryLogin+"@127",
			"\"env:CANARY_ENV\"", "\"env:CANARY_ENV\", \"env:"+canarySecret("misplaced")+"\", \""+canaryBroken+"\", whsec_"+canaryBroken,
			"filter: \"", "filter: \"'"+canarySecret("misplaced")+"' + ",
		).Replace(good)},
		{"fanjet.yaml", strings.Replace(good, "store_dir: data", "store_dir: \""+canarySecret("misplaced")[:20]+"x\", durability: "+canarySecret("misplaced"), 1)},
		{"fanjet.yaml", good[:len(good)/2]},
	} {
		before := failures()
		w.replace(change.file, change.text)
		w.fanjet(nil, "check")
		w.fanjet(nil, "check", "-o", "json")
		if change.text != canarySecret("file") {
			waitUntil(w.T, "the mistake is noticed", func() bool { return failures() > before })
		}
	}
	// And a good one: a new secret.
	before := strings.Count(w.log.String(), "configuration reloaded")
	w.replace("secret", canarySecret("new"))
	w.replace("fanjet.yaml", good)
	waitUntil(w.T, "the new secret is in use", func() bool { return strings.Count(w.log.String(), "configuration reloaded") > before })
}

// listeners asks what the gateway says by HTTP and by NATS.
func (w *witness) listeners() {
	w.Helper()
	for _, path := range []string{
		"/metrics", "/readyz", "/livez", "/", "/debug/pprof/", "/debug/vars",
		"/api/v1", "/api/v1/endpoints", "/api/v1/endpoints/fail", "/api/v1/dead-letters", "/api/v1/dlq", "/api/v1/audit", "/api/v1/config",
	} {
		resp, err := http.Get(w.admin + path)
		if err != nil {
			w.Fatal(err)
		}
		body, err := io.ReadAll(resp.Body)
		_ = resp.Body.Close()
		if err != nil {
			w.Fatal(err)
		}
		w.check(path, fmt.Sprint(resp.Header)+string(body))
	}
	nc, err := nats.Connect(w.nats)
	if err != nil {
		w.Fatal(err)
	}
	defer nc.Close()
	names := wire.NewNames("")
	for _, subject := range []string{names.ControlEndpointsSubject(), names.ControlPingSubject("fail"), names.ControlPingSubject("tls")} {
		answer, err := nc.Request(subject, []byte("{}"), 10*time.Second)
		if err != nil {
			w.Fatal(err)
		}
		w.check(subject, string(answer.Data))
	}
}

// stored looks at what Fanjet stores: events as they are, and nothing of the
// endpoint but its name.
func (w *witness) stored() {
	w.Helper()
	nc, err := nats.Connect(w.nats)
	if err != nil {
		w.Fatal(err)
	}
	defer nc.Close()
	js, err := jetstream.New(nc)
	if err != nil {
		w.Fatal(err)
	}
	names := js.StreamNames(w.Context())
	count := 0
	for name := range names.Name() {
		if name == "EVENTS" {
			continue
		}
		stream, err := js.Stream(w.Context(), name)
		if err != nil {
			w.Fatal(err)
		}
		state := stream.CachedInfo().State
		for seq := state.FirstSeq; seq <= state.LastSeq && seq > 0; seq++ {
			m, err := stream.GetMsg(w.Context(), seq)
			if err != nil {
				continue // settled
			}
			count++
			w.check("the stream "+name, fmt.Sprint(m.Subject, m.Header, string(m.Data)), ofEvents()...)
		}
	}
	if count < len(troubles()) {
		w.Errorf("only %d messages are stored", count)
	}
}
