package main

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"path/filepath"
	"regexp"
	"runtime/pprof"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"fanjet/internal/wire"
)

// Whatever happens, the log, metrics, errors, the output of commands and the
// answers of the gateway show no secret, no payload, no header of a producer or
// of the configuration, and no query string. What a command is for is excepted:
// `dlq show`, `dlq export` and `match` show events.
func TestCanaries(t *testing.T) {
	w := newWitness(t)
	t.Setenv("CANARY_ENV", canarySecret("env"))
	t.Setenv("CANARY_TOKEN", canaryToken)
	w.replace("secret", canarySecret("file"))
	good := w.configure()
	_, stop := w.background("serve", w.log, `"msg":"(ready)"`, "serve", "--config", w.config, "--log-level", "debug", "--log-format", "json")
	w.nats = regexp.MustCompile(`"nats":"([^"]+)"`).FindStringSubmatch(w.log.String())[1]
	w.admin = regexp.MustCompile(`"admin":"([^"]+)"`).FindStringSubmatch(w.log.String())[1]

	// The gateway's own listener can never be reached.
	good = strings.Replace(good, blockedLater, w.admin, 1)
	w.replace("fanjet.yaml", good)
	w.client = filepath.Join(w.dir, "client.yaml")
	w.replace("client.yaml", strings.Replace(good, `listen: "127.0.0.1:0"`, `listen: "`+strings.TrimPrefix(w.nats, "nats://")+`"`, 1))
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
	event := filepath.Join(w.dir, "event.json")
	w.replace("event.json", `{"text": "`+canaryPayload+`"}`)
	for _, format := range []string{"table", "json"} {
		o := []string{"-o", format}
		w.beside(nil, append([]string{"dlq", "stats"}, o...)...)
		w.beside(nil, append([]string{"dlq", "list"}, o...)...)
		w.beside(ofEvents(), append([]string{"dlq", "show", "1"}, o...)...)
		w.beside(nil, append([]string{"dlq", "replay", "--dry-run"}, o...)...)
		w.beside(nil, append([]string{"endpoints", "list"}, o...)...)
		for _, name := range []string{"ok", "fail", "tls"} {
			w.beside(nil, append([]string{"endpoints", "show", name}, o...)...)
			w.beside(nil, append([]string{"endpoints", "ping", name, "--timeout", "3s"}, o...)...)
		}
		w.fanjet(nil, append([]string{"check"}, o...)...)
		w.doctor(w.beside(nil, append([]string{"doctor"}, o...)...))
		w.fanjet(ofEvents(), append([]string{"match", "--subject", "events.ok", "--data", event, "--header", "X-Producer=" + canaryHeader}, o...)...)
	}
	for _, name := range []string{"redirect", "panic", "hang", "garbage", "refused", "blocked", "unverified"} {
		w.beside(nil, "endpoints", "ping", name, "--timeout", "3s", "-o", "json")
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

// doctor checks that the doctor has looked at everything.
func (w *witness) doctor(said string) {
	w.Helper()
	for _, part := range []string{
		"secrets", "disk", "version", "synced|power cut", "account", "permissions", "stream FANJET_DLQ", "consumer fanjet-due of",
		"NATS server", "gateway on", "refused", "unknown authority", "can be reached at",
	} {
		if !regexp.MustCompile(part).MatchString(said) {
			w.Errorf("doctor says nothing of %q:\n%s", part, said)
		}
	}
	if strings.Contains(said, "cannot be reached, so") {
		w.Error("doctor does not reach NATS")
	}
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
		"/metrics", "/readyz", "/livez", "/", "/debug/pprof/", "/api/v1/endpoints", "/api/v1/endpoints/fail", "/api/v1/endpoints/nobody",
		"/api/v1/dead-letters", "/api/v1/audit", "/api/v1/dead-letters?token=" + canaryQuery, "/api/v1/nothing",
	} {
		for _, token := range []string{"", canaryGuess, canaryToken} {
			w.get(path, token)
		}
	}
	if w.get("/api/v1/endpoints", canaryToken) != http.StatusOK || w.get("/api/v1/endpoints", canaryGuess) == http.StatusOK {
		w.Error("the API does not know its token, or takes another")
	}
	nc := w.connect()
	names := wire.NewNames("")
	for _, subject := range []string{names.ControlEndpointsSubject(), names.ControlPingSubject("fail"), names.ControlPingSubject("tls")} {
		answer, err := nc.Request(subject, []byte("{}"), 10*time.Second)
		if err != nil {
			w.Fatal(err)
		}
		w.check(subject, string(answer.Data))
	}
}

// get asks the admin listener, looks at the answer, and returns its status.
func (w *witness) get(path, token string) int {
	w.Helper()
	req, err := http.NewRequestWithContext(w.Context(), http.MethodGet, w.admin+path, http.NoBody)
	if err != nil {
		w.Fatal(err)
	}
	if token != "" {
		req.Header.Set("Authorization", "Bearer "+token)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		w.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		w.Fatal(err)
	}
	w.check(path, fmt.Sprint(resp.Header)+string(body))
	return resp.StatusCode
}

// stored looks at what Fanjet stores: events as they are, and nothing of the
// endpoint but its name.
func (w *witness) stored() {
	w.Helper()
	nc := w.connect()
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
