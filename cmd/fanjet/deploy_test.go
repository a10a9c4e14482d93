package main

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"fanjet/internal/jsapi"
	"fanjet/internal/natstest"
	"fanjet/internal/wire"
)

// deployment is a NATS server with exactly the files of deploy/nats, and what
// its README tells to fill in.
type deployment struct {
	*testing.T
	dir  string // of the files, keys and certificates
	nats *natstest.Server
	log  *serverLines
}

// serverLines keeps what a NATS server reports.
type serverLines struct {
	mu    sync.Mutex
	lines []string
}

func (l *serverLines) add(format string, v ...any) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.lines = append(l.lines, fmt.Sprintf(format, v...))
}

func (l *serverLines) Noticef(string, ...any)         {}
func (l *serverLines) Debugf(string, ...any)          {}
func (l *serverLines) Tracef(string, ...any)          {}
func (l *serverLines) Warnf(format string, v ...any)  { l.add(format, v...) }
func (l *serverLines) Errorf(format string, v ...any) { l.add(format, v...) }
func (l *serverLines) Fatalf(format string, v ...any) { l.add(format, v...) }

// violations are the lines about what somebody may not do; they are forgotten.
func (l *serverLines) violations() (found []string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, line := range l.lines {
		if strings.Contains(line, "Violation") || strings.Contains(line, "uthorization") || strings.Contains(line, "uthentication") {
			found = append(found, line)
		}
	}
	l.lines = nil
	return found
}

// newDeployment starts the server. Each edit is a text of the server's
// configuration and what takes its place.
func newDeployment(t *testing.T, edits ...string) *deployment {
	t.Helper()
	d := &deployment{T: t, dir: t.TempDir(), log: &serverLines{}}
	files := filepath.Join(repository, "deploy", "nats")
	if err := os.CopyFS(d.dir, os.DirFS(files)); err != nil {
		t.Fatal(err)
	}
	site, err := os.ReadFile(filepath.Join(d.dir, "site.conf.example"))
	if err != nil {
		t.Fatal(err)
	}
	conf := filepath.Join(d.dir, "nats-server.conf")
	if err := os.WriteFile(conf, []byte(strings.NewReplacer(edits...).Replace(readText(t, conf))), 0o600); err != nil {
		t.Fatal(err)
	}
	d.certificate("server")
	text := strings.NewReplacer(
		"/etc/nats/", d.dir+"/", "/var/lib/nats", filepath.Join(d.dir, "store"), "0.0.0.0:4222", "127.0.0.1:-1", "127.0.0.1:8222", "127.0.0.1:-1",
	).Replace(string(site))
	text = regexp.MustCompile(`(?m)^[A-Z]+_NKEY: +"U.*"$`).ReplaceAllStringFunc(text, func(line string) string {
		name, _, _ := strings.Cut(line, ":")
		return fmt.Sprintf("%s: %q", name, d.key(strings.ToLower(strings.TrimSuffix(name, "_NKEY"))))
	})
	if err := os.WriteFile(filepath.Join(d.dir, "site.conf"), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	d.nats = natstest.Start(t, natstest.Options{Listen: true, Log: d.log, Adjust: func(o *server.Options) {
		parsed, err := server.ProcessConfigFile(conf)
		if err != nil {
			t.Fatal(err)
		}
		port := o.Port
		*o = *parsed
		o.NoSigs, o.Port = true, port
	}})
	return d
}

// key makes a pair of keys as a user would, keeps the seed, and returns the
// public key.
func (d *deployment) key(name string) (public string) {
	d.Helper()
	var pair struct{ Seed, Public string }
	if err := json.Unmarshal([]byte(d.fanjet(0, "secret", "nkey", "-o", "json")), &pair); err != nil {
		d.Fatal(err)
	}
	if err := os.WriteFile(d.seed(name), []byte(pair.Seed+"\n"), 0o600); err != nil {
		d.Fatal(err)
	}
	return pair.Public
}

func (d *deployment) seed(name string) string { return filepath.Join(d.dir, name+".nk") }

// certificate makes a certificate that signed itself, for this machine.
func (d *deployment) certificate(name string) {
	d.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		d.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true,
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	cert, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		d.Fatal(err)
	}
	secret, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		d.Fatal(err)
	}
	for file, block := range map[string]*pem.Block{
		name + ".crt": {Type: "CERTIFICATE", Bytes: cert}, name + ".key": {Type: "PRIVATE KEY", Bytes: secret},
	} {
		if err := os.WriteFile(filepath.Join(d.dir, file), pem.EncodeToMemory(block), 0o600); err != nil {
			d.Fatal(err)
		}
	}
}

// fanjet runs a command, which must end with a code, and returns its output.
func (d *deployment) fanjet(code int, args ...string) string {
	d.Helper()
	var out, log bytes.Buffer
	if got := run(d.Context(), args, streams{in: strings.NewReader(""), out: &out, err: &log}); got != code {
		d.Fatalf("fanjet %q: exit code %d, want %d\n%s\n%s", args, got, code, &out, &log)
	}
	return out.String()
}

// config writes a configuration for one role.
func (d *deployment) config(role, rest string) string {
	d.Helper()
	path := filepath.Join(d.dir, role+".yaml")
	text := fmt.Sprintf("version: 1\nnats: {url: %q, credentials: %q, tls: {ca: %q}}\nadmin: {listen: \"127.0.0.1:0\"}\n%s",
		strings.Replace(d.nats.URL(), "nats:", "tls:", 1), d.seed(role), filepath.Join(d.dir, "server.crt"), rest)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		d.Fatal(err)
	}
	return path
}

// connect connects as a role, the way that a program of its own would.
func (d *deployment) connect(role string, opts ...nats.Option) *nats.Conn {
	d.Helper()
	key, err := nats.NkeyOptionFromSeed(d.seed(role))
	if err != nil {
		d.Fatal(err)
	}
	nc, err := nats.Connect(d.nats.URL(), append(opts, key, nats.RootCAs(filepath.Join(d.dir, "server.crt")))...)
	if err != nil {
		d.Fatalf("%s: %v", role, err)
	}
	d.Cleanup(nc.Close)
	return nc
}

// The files of deploy/nats, exactly as they are, give gateway, operator and
// producer what they need: the server reports no violation in a whole life of
// events and of what operators do.
func TestDeployNATS(t *testing.T) {
	t.Parallel()
	d := newDeployment(t)
	var down atomic.Bool
	hook := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.Contains(r.URL.Path, "flaky") && down.Load() {
			w.WriteHeader(http.StatusServiceUnavailable)
		}
	}))
	t.Cleanup(hook.Close)
	settings := func(extra string) string {
		return strings.ReplaceAll(`
egress: {allow_http: true, allow_cidrs: ["127.0.0.0/8"]}
canary: {subject: events.fanjet.canary, every: 1s}
defaults: {secrets: ["`+crashSecret+`"], retry: {schedule: [50ms, 100ms]}, circuit: {failures: 0}}
endpoints:
  steady: {url: "HOOK/steady"}
  flaky: {url: "HOOK/flaky"}
  line: {url: "HOOK/line", ordered: true}
  limited: {url: "HOOK/limited", rate_limit: 50/s}
`+extra+`
subscriptions:
  - {name: all, subjects: ["events.>"], endpoints: [steady, flaky, line, limited]}
`, "HOOK", hook.URL)
	}
	gateway := d.config("gateway", settings(""))
	d.fanjet(0, "check", "--config", gateway)
	p := newGatewayProcess(t, "", "")
	p.config = gateway
	p.start()
	operator, viewer := d.config("operator", settings("")), d.config("viewer", settings(""))
	check := func(after string) {
		t.Helper()
		if found := d.log.violations(); len(found) > 0 {
			t.Errorf("%s:\n%s", after, strings.Join(found, "\n"))
		}
	}
	check("start")

	// The producer publishes, in every way.
	down.Store(true)
	js, err := jetstream.New(d.connect("producer"))
	if err != nil {
		t.Fatal(err)
	}
	for i := range 200 {
		if _, err := js.PublishAsync("events.x", fmt.Appendf(nil, `{"n": %d}`, i), jetstream.WithMsgID(fmt.Sprint(i)), jetstream.WithStallWait(time.Minute)); err != nil {
			t.Fatal(err)
		}
	}
	<-js.PublishAsyncComplete()
	publisher := d.config("producer", "")
	d.fanjet(0, "publish", "events.y", "--count", "3", "--config", publisher)
	waitUntil(t, "flaky has dead letters", func() bool {
		return strings.Contains(d.fanjet(0, "dlq", "stats", "--config", operator), "flaky")
	})
	check("deliveries, retries, dead letters")

	// What an operator sees and does.
	for _, who := range []string{operator, viewer} {
		for _, args := range [][]string{
			{"endpoints", "list"}, {"endpoints", "show", "flaky"}, {"dlq", "stats"}, {"dlq", "list"}, {"dlq", "export"}, {"audit", "list"},
		} {
			d.fanjet(0, append(args, "--config", who)...)
		}
		d.fanjet(1, "dlq", "list", "--endpoint", "nobody", "--config", who)
		check(filepath.Base(who) + " looks")
	}
	var letters []struct{ Seq int }
	if err := json.Unmarshal([]byte(d.fanjet(0, "dlq", "list", "-o", "json", "--config", operator)), &letters); err != nil || len(letters) == 0 {
		t.Fatalf("%d letters, %v", len(letters), err)
	}
	d.fanjet(0, "dlq", "show", fmt.Sprint(letters[0].Seq), "--config", operator)
	d.fanjet(0, "endpoints", "ping", "steady", "--config", operator)
	d.fanjet(0, "endpoints", "pause", "steady", "--config", operator)
	d.fanjet(0, "publish", "events.z", "--count", "20", "--config", publisher)
	waitUntil(t, "what a paused endpoint gets waits in its lane", func() bool {
		return strings.Contains(d.fanjet(0, "endpoints", "list", "--config", operator), " 20 ")
	})
	d.fanjet(0, "endpoints", "resume", "steady", "--config", operator)
	check("a pause")
	d.fanjet(0, "dlq", "purge", "--all", "--limit", "1", "--yes", "--config", operator)
	d.fanjet(0, "dlq", "drain", "--all", "--limit", "1", "--out", filepath.Join(t.TempDir(), "letters.jsonl"), "--config", operator)
	down.Store(false)
	d.fanjet(0, "endpoints", "resume", "flaky", "--config", operator)
	d.fanjet(0, "dlq", "replay", "--all", "--yes", "--config", operator)
	waitUntil(t, "the replay is done", func() bool {
		out := d.fanjet(0, "dlq", "stats", "-o", "json", "--config", operator)
		return strings.TrimSpace(out) == "[]"
	})
	d.fanjet(0, "dlq", "purge", "--all", "--yes", "--config", operator)
	check("a replay, a drain and a purge")

	// The same by the API of a gateway, which asks all gateways.
	api := func(method, path, want string) {
		t.Helper()
		req, err := http.NewRequestWithContext(t.Context(), method, p.admin+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		text, err := io.ReadAll(resp.Body)
		if err = errors.Join(err, resp.Body.Close()); err != nil || resp.StatusCode != http.StatusOK || !strings.Contains(string(text), want) {
			t.Errorf("%s %s: %d, %v\n%s", method, path, resp.StatusCode, err, text)
		}
	}
	api(http.MethodGet, "/api/v1/endpoints", `"healthy"`)
	api(http.MethodGet, "/api/v1/endpoints/line", `"healthy"`)
	api(http.MethodPost, "/api/v1/endpoints/steady/ping", "200")
	api(http.MethodPost, "/api/v1/endpoints/steady/pause", `"steady"`)
	api(http.MethodPost, "/api/v1/endpoints/steady/resume", `"steady"`)
	api(http.MethodGet, "/api/v1/dead-letters", "")
	api(http.MethodGet, "/api/v1/audit", `"api"`)
	api(http.MethodGet, "/readyz", "")
	check("the API")

	// A reload with one endpoint more and one less; a restart of either side, and
	// with it a shorter max_age.
	if err := os.WriteFile(gateway, []byte(strings.ReplaceAll(readText(t, gateway), "limited", "other")), 0o600); err != nil {
		t.Fatal(err)
	}
	waitUntil(t, "the reload is in force", func() bool { return p.metric("fanjet_config_reload_success") == "1" })
	p.terminate()
	shorter := readText(t, gateway) + `sources: [{stream: EVENTS, subjects: ["events.>"], create: true, max_age: 100h}]` + "\n"
	if err := os.WriteFile(gateway, []byte(shorter), 0o600); err != nil {
		t.Fatal(err)
	}
	p.start()
	d.nats.Restart()
	waitUntil(t, "the gateway is ready again", func() bool {
		resp, err := http.Get(p.admin + "/readyz")
		if err != nil {
			return false
		}
		_, err = io.Copy(io.Discard, resp.Body)
		return errors.Join(err, resp.Body.Close()) == nil && resp.StatusCode == http.StatusOK
	})
	d.fanjet(0, "publish", "events.last", "--config", publisher)
	p.terminate()
	check("a reload and restarts")

	// What only a crash leaves behind, a gateway removes one by one.
	if js, err = jetstream.New(d.connect("gateway", nats.CustomInboxPrefix("_INBOX.fanjet-gateway"))); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"FANJET_RETRIES", "FANJET_DLQ"} {
		stream, err := js.Stream(t.Context(), name)
		if err != nil {
			t.Fatal(err)
		}
		if err := stream.DeleteMsg(t.Context(), 1<<40); err == nil || errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("%s: deleting a message that is not there: %v", name, err)
		}
	}
	check("leftovers")

	// So does it with a consumer that is past the end of its stream.
	if err := js.DeleteConsumer(t.Context(), "EVENTS", "fanjet-match"); err != nil {
		t.Errorf("deleting the consumer: %v", err)
	}
	check("a consumer that has to go")
}

// What the rights of deploy/nats do not let through.
func TestDeployNATSRefuses(t *testing.T) {
	t.Parallel()
	d := newDeployment(t)
	p := newGatewayProcess(t, "", "")
	p.config = d.config("gateway", "")
	p.start()
	for _, test := range []struct {
		role    string
		publish []string
		listen  []string
	}{
		{"producer", []string{
			"fanjet.deliver.billing", "$KV.fanjet-state.paused.billing", "$JS.API.INFO", "$JS.API.STREAM.PURGE.FANJET_DLQ", "$SYS.REQ.SERVER.PING",
		}, []string{">", "events.>", "fanjet.>", "$KV.>", "$JS.>"}},
		{"viewer", []string{
			"events.x", "fanjet.deliver.billing", "fanjet.dlq.billing", "fanjet.ctl.ping.billing", "fanjet.ctl.resume.billing", "fanjet.audit.cli.purge", "$KV.fanjet-state.paused.billing",
			"$JS.API.STREAM.PURGE.FANJET_DLQ", "$JS.API.STREAM.MSG.DELETE.FANJET_DLQ", "$JS.API.CONSUMER.CREATE.EVENTS.spy",
			"$JS.API.STREAM.MSG.DELETE.FANJET_RETRIES", "$KV.fanjet-state.direct.EVENTS", "$JS.API.CONSUMER.MSG.NEXT.FANJET_DELIVERIES.fanjet-deliver",
		}, []string{">", "events.>", "fanjet.>", "_INBOX.>", "_INBOX.fanjet-gateway.>", "$KV.>"}},
		{"operator", []string{
			"events.x", "fanjet.dlq.billing", "fanjet.lane.billing", "fanjet.audit.api.purge", "fanjet.audit.gateway.pause",
			"$JS.API.STREAM.DELETE.FANJET_DLQ", "$JS.API.STREAM.PURGE.FANJET_DELIVERIES", "$JS.API.STREAM.UPDATE.FANJET_AUDIT",
			"$JS.API.CONSUMER.CREATE.EVENTS.spy", "$JS.API.CONSUMER.DELETE.FANJET_DELIVERIES.fanjet-deliver",
			"$JS.ACK.FANJET_DELIVERIES.fanjet-deliver.1.1.1.1.0", "$JS.API.STREAM.MSG.DELETE.FANJET_RETRIES",
		}, []string{">", "events.>", "fanjet.>", "_INBOX.>", "_INBOX.fanjet-gateway.>"}},
		{"gateway", []string{
			"events.x", "$JS.API.STREAM.DELETE.EVENTS", "$JS.API.STREAM.PURGE.EVENTS", "$JS.API.STREAM.DELETE.FANJET_DLQ", "$JS.API.STREAM.PURGE.FANJET_AUDIT",
			"$JS.API.STREAM.CREATE.OTHER", "$JS.API.CONSUMER.CREATE.EVENTS.spy", "$JS.API.CONSUMER.DELETE.EVENTS.other",
		}, []string{">", "events.>", "_INBOX.>", "_INBOX.fanjet-operator.>"}},
	} {
		nc := d.connect(test.role, nats.ErrorHandler(func(*nats.Conn, *nats.Subscription, error) {}))
		for _, subject := range append(test.publish, test.listen...) {
			what := "Publish"
			if strings.HasSuffix(subject, ">") {
				what = "Subscription"
			}
			d.log.violations()
			var err error
			if what == "Publish" {
				err = nc.Publish(subject, []byte("x"))
			} else {
				_, err = nc.SubscribeSync(subject)
			}
			if err := errors.Join(err, nc.Flush()); err != nil {
				t.Fatal(err)
			}
			if found := d.log.violations(); len(found) != 1 || !strings.Contains(found[0], what) || !strings.Contains(found[0], subject) {
				t.Errorf("%s: %s: the server reports %q", test.role, subject, found)
			}
		}
	}
	// The way around permissions: the acknowledgement of an event that is to become
	// a delivery, and a request to purge. What is to become a request nats-server does
	// not take at all since 2.15.3.
	js := d.connect("producer")
	for _, reply := range []string{"fanjet.deliver.billing", "$JS.API.STREAM.PURGE.FANJET_DLQ", "fanjet.audit.api.purge"} {
		if err := js.PublishRequest("events.x", reply, nil); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := js.Request("events.x", nil, time.Minute); err != nil {
		t.Fatal(err)
	}
	p.terminate()
	gateway, err := jetstream.New(d.connect("gateway", nats.CustomInboxPrefix("_INBOX.fanjet-gateway")))
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]uint64{"EVENTS": 3, "FANJET_DELIVERIES": 0, "FANJET_DLQ": 0, "FANJET_AUDIT": 0} {
		stream, err := gateway.Stream(t.Context(), name)
		if err != nil {
			t.Fatal(err)
		}
		if got := stream.CachedInfo().State.LastSeq; got != want {
			t.Errorf("%s has taken %d messages, want %d", name, got, want)
		}
	}
}

// A gateway of deploy/nats may do what direct delivery needs: look for a schedule, take
// it back by its sequence, and note how far a source may have been delivered directly.
func TestDeployNATSDirect(t *testing.T) {
	t.Parallel()
	d := newDeployment(t)
	p := newGatewayProcess(t, "", "")
	p.config = d.config("gateway", "")
	p.start()
	p.terminate()
	d.log.violations()
	names := wire.NewNames("")
	js, err := jetstream.New(d.connect("gateway", nats.CustomInboxPrefix(names.GatewayInbox())))
	if err != nil {
		t.Fatal(err)
	}
	subject := names.RetrySubject("billing", "key")
	if _, err := js.PublishMsg(t.Context(), &nats.Msg{Subject: subject, Header: nats.Header{
		jetstream.ScheduleHeader:  {"@at " + time.Now().Add(time.Hour).UTC().Format(time.RFC3339)},
		wire.HeaderScheduleTarget: {names.DueSubject("billing")},
		jetstream.MsgRollup:       {jetstream.MsgRollupSubject},
	}}); err != nil {
		t.Fatal(err)
	}
	m, err := jsapi.Of(js).Next(t.Context(), names.RetriesStream(), subject, 1)
	if err != nil {
		t.Fatal(err)
	}
	stream, err := js.Stream(t.Context(), names.RetriesStream())
	if err != nil {
		t.Fatal(err)
	}
	if err := stream.DeleteMsg(t.Context(), m.Sequence); err != nil {
		t.Error(err)
	}
	bucket, err := jsapi.OpenBucket(t.Context(), js, names.StateBucket())
	if err != nil {
		t.Fatal(err)
	}
	revision, err := bucket.Create(t.Context(), "direct.EVENTS", []byte("{}"))
	if err == nil {
		_, err = bucket.Update(t.Context(), "direct.EVENTS", []byte("{}"), revision)
	}
	if err != nil {
		t.Error(err)
	}
	if found := d.log.violations(); len(found) > 0 {
		t.Error(strings.Join(found, "\n"))
	}
}

// A gateway that may not do all it must says which subject is missing.
func TestDeployNATSMissingRight(t *testing.T) {
	t.Parallel()
	for right, want := range map[string]string{
		`"$JS.API.STREAM.*.FANJET_DLQ", `: "$JS.API.STREAM.INFO.FANJET_DLQ",
		`"_INBOX.fanjet-gateway.>", `:     "_INBOX.fanjet-gateway.",
		`"$JS.API.INFO"`:                  "$JS.API.INFO",
	} {
		t.Run(want, func(t *testing.T) {
			t.Parallel()
			d := newDeployment(t, right, "")
			ctx, cancel := context.WithCancel(t.Context())
			var log lockedBuffer
			done := make(chan int, 1)
			config := d.config("gateway", "")
			go func() {
				done <- run(ctx, []string{"serve", "--config", config, "--log-format", "json"}, streams{in: strings.NewReader(""), out: io.Discard, err: &log})
			}()
			waitUntil(t, "the log names what is missing", func() bool {
				return regexp.MustCompile(`(?i)permissions violation.*` + regexp.QuoteMeta(want)).MatchString(log.String())
			})
			cancel()
			<-done
		})
	}
}

func readText(t *testing.T, path string) string {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}
