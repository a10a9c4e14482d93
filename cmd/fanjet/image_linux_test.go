package main

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/spf13/cobra"

	"fanjet/webhook"
)

// The program needs nothing but itself: what the image promises.
func TestEmptyRoot(t *testing.T) {
	t.Parallel()
	program := staticProgram(t)
	for name, test := range map[string]func(*emptyRoot){
		"commands": everyCommand, "filters": everyFilter, "demo": demoAnywhere, "image": documentedImage, "unreadable": unreadableConfiguration,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			test(newEmptyRoot(t, program))
		})
	}
}

// freePort returns an address that nobody listens on.
func (r *emptyRoot) freePort() string {
	r.Helper()
	addr, err := freeAddr("127.0.0.1:0")
	if err != nil {
		r.Fatal(err)
	}
	return addr
}

// everyCommand runs every command beside a gateway, as the image is run: with a
// configuration that is read-only, in a folder that is.
func everyCommand(r *emptyRoot) {
	broken := httptest.NewServer(http.NotFoundHandler())
	r.Cleanup(broken.Close)
	hook, natsAddr := r.freePort(), r.freePort()
	r.folder("etc", 0o555, 0)
	r.write("etc/fanjet.yaml", fmt.Sprintf(`version: 1
nats: {embedded: {store_dir: ./streams, listen: "%s"}}
admin: {listen: "%s"}
egress: {allow_http: true, allow_cidrs: ["127.0.0.0/8"]}
defaults: {secrets: ["env:HOOK_SECRET"]}
endpoints:
  good: {url: "http://%s/good", secrets: ["env:GOOD_SECRET"]}
  broken: {url: "%s/", dead_letter_on: [404]}
subscriptions:
  - {name: good, subjects: ["events.>"], filter: 'time.getHours("Europe/Lisbon") < 24', endpoints: [good]}
  - {name: broken, subjects: ["events.broken"], endpoints: [broken]}
`, natsAddr, r.freePort(), hook, broken.URL), 0o444)
	environment := []string{"FANJET_DATA_DIR=/data", "FANJET_CONFIG=/etc/fanjet.yaml"}

	environment = append(environment, "GOOD_SECRET="+webhook.NewSecret(), "HOOK_SECRET="+webhook.NewSecret())

	ran := map[string]bool{"serve": true, "listen": true}
	do := func(want string, args ...string) string {
		r.Helper()
		got := r.run(environment, args...)
		if got.code != exitOK || !strings.Contains(got.out, want) {
			r.Errorf("fanjet %s ended with %d, and does not say %q:\n%s%s", strings.Join(args, " "), got.code, want, got.out, got.err)
		}
		for n := range args {
			ran[strings.Join(args[:n+1], " ")] = true
		}
		return got.out
	}
	received, endListen := r.spawn("listening", environment, "listen", "--addr", hook)
	gateway, endServe := r.spawn(`"ready"`, environment, "serve")

	do("Wrote /data/new.yaml", "init", "--config", "/data/new.yaml")
	do("is valid", "check")
	do("Goes to: good", "match", "--subject", "events.hello", "--data", "{}")
	do("whsec_", "secret", "new")
	do("U", "secret", "nkey")
	do("fanjet", "completion", "bash")
	do("fanjet", "version")
	do("Usage", "help", "publish")
	do("ready", "ready")
	do("stored EVENTS/1", "publish", "events.hello", "--data", `{"a": 1}`)
	do("stored EVENTS/2", "publish", "events.broken")
	received.until(r, "events.hello")
	do("good", "endpoints", "list")
	do("good", "endpoints", "show", "good")
	do("", "endpoints", "ping", "good")
	do("paused", "endpoints", "pause", "good", "--reason", "test")
	do("good", "endpoints", "resume", "good")
	for !strings.Contains(do("", "dlq", "stats"), "broken") {
		if r.Failed() {
			return
		}
	}
	do("rejected", "dlq", "list")
	do("rejected", "dlq", "show", "1")
	do("rejected", "dlq", "export")
	do("1 letter", "dlq", "replay", "--all", "--dry-run")
	do("1 letter", "dlq", "drain", "--all", "--out", "/data/letters.jsonl")
	do("0 letters", "dlq", "purge", "--all", "--yes")
	ran["events skip"] = true
	if got := r.run(environment, "events", "skip", "--source", "EVENTS", "--to", "2"); !strings.Contains(got.err, "nothing to skip: all events of EVENTS up to 2 are fanned out") {
		r.Errorf("events skip: %+v", got)
	}
	do("uid 65532", "audit", "list")
	do("good: can be reached at", "doctor")
	do("0 lost, every signature right", "demo", "--once")
	endServe()
	endListen()
	if _, err := os.Stat(filepath.Join(r.dir, "data/streams/operator.nk")); err != nil {
		r.Errorf("the streams are elsewhere: %v\n%s", err, gateway)
	}

	var visit func(*cobra.Command)
	visit = func(cmd *cobra.Command) {
		for _, sub := range cmd.Commands() {
			visit(sub)
		}
		if name := strings.TrimPrefix(cmd.CommandPath(), "fanjet "); !cmd.HasSubCommands() && !ran[name] {
			r.Errorf("fanjet %s is not run", name)
		}
	}
	visit(newRootCommand(&globals{}))
}

// until waits for a text.
func (l *lines) until(r *emptyRoot, text string) {
	r.Helper()
	for deadline := time.After(startTimeout); !strings.Contains(l.String(), text); {
		select {
		case <-l.came:
		case <-deadline:
			r.Fatalf("nothing says %q:\n%s", text, l)
		}
	}
}

// everyFilter runs every filter of the guide.
func everyFilter(r *emptyRoot) {
	guide, err := os.ReadFile(filepath.Join(repository, "docs", "filters.md"))
	if err != nil {
		r.Fatal(err)
	}
	_, event, _ := strings.Cut(string(guide), "```text\n")
	event, _, _ = strings.Cut(event, "```")
	_, body, _ := strings.Cut(event, "\n\n")

	reasons := map[string]string{"true": "and filter is true", "false": "filter is false: ", "missing": "filter needs ", "error": "filter cannot be evaluated: "}
	const head = "version: 1\nendpoints: {e: {url: \"https://e.example.com/\", secrets: [\"env:HOOK_SECRET\"]}}\nsubscriptions:\n"
	good, bad := head, head
	var want, messages []string
	kind := ""
	for line := range strings.Lines(string(guide)) {
		cells := strings.Split(strings.ReplaceAll(strings.TrimSpace(line), `\|`, "\x00"), "|")
		if len(cells) < 4 {
			kind = ""
			continue
		}
		filter := strings.ReplaceAll(strings.Trim(strings.TrimSpace(cells[1]), "`"), "\x00", "|")
		result := strings.TrimSpace(cells[2])
		quoted, err := json.Marshal(filter)
		if err != nil {
			r.Fatal(err)
		}
		entry := fmt.Sprintf("  - {name: f%%d, subjects: [events.>], endpoints: [e], filter: %s}\n", strings.ReplaceAll(string(quoted), "%", "%%"))
		switch {
		case kind == "":
			kind = filter + "/" + result
		case strings.HasPrefix(filter, "---"):
		case kind == "filter/result":
			good += fmt.Sprintf(entry, len(want))
			want = append(want, reasons[result])
		case kind == "filter/message":
			bad += fmt.Sprintf(entry, len(messages))
			messages = append(messages, strings.ReplaceAll(result, "\x00", "|"))
		}
	}
	if len(want) < 40 || len(messages) < 8 {
		r.Fatalf("the guide has %d filters, and %d that are wrong", len(want), len(messages))
	}
	r.write("good.yaml", good, 0o444)
	r.write("bad.yaml", bad, 0o444)
	r.write("event.json", body, 0o444)

	got := r.run(nil, "match", "--config", "/good.yaml", "--subject", "events.orders.42.paid", "--header", "X-Tenant=acme", "--data", "@/event.json", "-o", "json")
	var report matchReport
	if err := json.Unmarshal([]byte(got.out), &report); err != nil || len(report.Subscriptions) != len(want) {
		r.Fatalf("%v: %d subscriptions\n%s", err, len(report.Subscriptions), got.err)
	}
	lines := strings.Split(good, "\n")[3:]
	for i, s := range report.Subscriptions {
		if !strings.Contains(s.Reason, want[i]) || s.Matched != (want[i] == reasons["true"]) {
			r.Errorf("%s: %v, %s; want %q", lines[i], s.Matched, s.Reason, want[i])
		}
	}
	checked := r.run(nil, "check", "--config", "/bad.yaml")
	for _, message := range messages {
		if !strings.Contains(checked.err, message) {
			r.Errorf("check does not say %q:\n%s", message, checked.err)
		}
	}
}

// demoAnywhere shows the tour where it can write at all, and says what to do where it
// cannot.
func demoAnywhere(r *emptyRoot) {
	const done = "0 lost, every signature right"
	if got := r.run(nil, "demo", "--once"); got.code != exitFailure || !strings.Contains(got.err, "TMPDIR") {
		r.Errorf("nothing can be written: %d %s", got.code, got.err)
	}
	if got := r.run([]string{"TMPDIR=/data"}, "demo", "--once"); !strings.Contains(got.out, done) {
		r.Errorf("TMPDIR: %s%s", got.out, got.err)
	}
	here := r.command(r.Context(), "demo", "--once")
	here.Dir = "/data"
	if out, err := here.CombinedOutput(); err != nil || !strings.Contains(string(out), done) {
		r.Errorf("in the present folder: %v\n%s", err, out)
	}
	if left, err := filepath.Glob(filepath.Join(r.dir, "data", "*")); err != nil || len(left) > 0 {
		r.Errorf("it left %v %v", left, err)
	}
}

// documentedImage starts the program as the Dockerfile says, with the configuration
// that the guide has for producers elsewhere: the streams are in the volume, and a
// producer with a password reaches the server from outside.
func documentedImage(r *emptyRoot) {
	text, _ := dockerfile(r.T)
	for _, line := range []string{ // what an emptyRoot is like
		fmt.Sprintf(`USER %d:%d`, imageUser, imageUser),
		fmt.Sprintf(`COPY --from=build --chown=%d:%d /out/data /data`, imageUser, imageUser),
		`VOLUME /data`,
	} {
		if !strings.Contains(text, "\n"+line+"\n") {
			r.Errorf("the Dockerfile has no line %q", line)
		}
	}
	var environment []string
	for _, m := range regexp.MustCompile(`(?m)^ENV (\S+)$`).FindAllStringSubmatch(text, -1) {
		environment = append(environment, m[1])
	}
	command := strings.Split(regexp.MustCompile(`(?m)^CMD \["(.+)"\]$`).FindStringSubmatch(text)[1], `", "`)
	guide := documents(r.T)[filepath.Join(repository, "docs", "getting-started.md")]
	_, guide, _ = strings.Cut(guide, "\n## Docker\n")
	_, guide, _ = strings.Cut(guide, "```yaml\n")
	guide, _, _ = strings.Cut(guide, "```")
	natsAddr := "0.0.0.0:" + strings.TrimPrefix(r.freePort(), "127.0.0.1:")
	config := strings.NewReplacer("0.0.0.0:4222", natsAddr, "BILLING_SECRET", "HOOK_SECRET").Replace(guide)
	if !strings.Contains(config, natsAddr) {
		r.Fatalf("the guide has another configuration:\n%s", guide)
	}
	config += fmt.Sprintf("admin: {listen: \"%s\"}\n", r.freePort())
	cert, key := serverCertificate(r.T)
	r.folder("etc", 0o555, 0)
	r.folder("etc/fanjet", 0o555, 0)
	r.write("etc/fanjet/fanjet.yaml", config, 0o444)
	r.write("etc/fanjet/nats.crt", cert, 0o444)
	r.write("etc/fanjet/nats.key", key, 0o444)
	said, end := r.spawn(`"ready"`, environment, command...)
	defer end()

	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM([]byte(cert))
	nc, err := nats.Connect("tls://"+strings.Replace(natsAddr, "0.0.0.0", "127.0.0.2", 1),
		nats.UserInfo("shop", "correct horse battery"), nats.Secure(&tls.Config{RootCAs: pool, ServerName: "example.com"}))
	if err != nil {
		r.Fatalf("%v\n%s", err, said)
	}
	defer nc.Close()
	js, err := jetstream.New(nc)
	if err != nil {
		r.Fatal(err)
	}
	if ack, err := js.Publish(r.Context(), "events.hello", []byte("{}")); err != nil || ack.Sequence != 1 {
		r.Errorf("%+v %v", ack, err)
	}
	if _, err := os.Stat(filepath.Join(r.dir, "data/fanjet-data/jetstream")); err != nil {
		r.Errorf("the streams are elsewhere: %v", err)
	}
	if got := r.run(environment, "endpoints", "list", "--config", "/etc/fanjet/fanjet.yaml"); got.code != exitOK || !strings.Contains(got.out, "billing") {
		r.Errorf("endpoints list: %+v", got)
	}
	if got := r.run(environment, "ready", "--config", "/etc/fanjet/fanjet.yaml"); got.code != exitOK {
		r.Errorf("ready: %+v", got)
	}
}

// unreadableConfiguration is what a file gives that only its owner can read, as
// `fanjet init` writes it.
func unreadableConfiguration(r *emptyRoot) {
	r.write("fanjet.yaml", "version: 1\n", 0o000)
	got := r.run(nil, "serve", "--config", "/fanjet.yaml")
	if want := "/fanjet.yaml: the file cannot be read: permission denied for the user 65532, which this process runs as\n"; got.code != exitFailure || got.err != want {
		r.Errorf("%+v, want %q", got, want)
	}
}
