package main

import (
	"bytes"
	"context"
	"encoding/base64"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	standard "github.com/standard-webhooks/standard-webhooks/libraries/go"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"

	"fanjet/config"
	"fanjet/gateway"
)

// rotation is a receiver that has secrets of its own, and a gateway that follows
// its files as `fanjet serve` does.
type rotation struct {
	*testing.T
	dir string
	log *lockedBuffer

	mu      sync.Mutex
	secrets []*standard.Webhook // that the receiver knows; the first is the newest
	got     map[string]int      // bodies that verified
	refused []string            // why those that did not were not
	signed  map[string]int      // requests since look, by the signatures that each had
	gw      *gateway.Gateway
	hangup  chan os.Signal
}

func rotationSecret(text string) string {
	return "whsec_" + base64.StdEncoding.EncodeToString([]byte(text+strings.Repeat("-", 32-len(text))))
}

func newRotation(t *testing.T) *rotation {
	t.Helper()
	r := &rotation{T: t, dir: t.TempDir(), log: &lockedBuffer{}, got: map[string]int{}, signed: map[string]int{}, hangup: make(chan os.Signal, 1)}
	server := httptest.NewServer(r)
	t.Cleanup(server.Close)
	r.write("url", "http://"+server.Listener.Addr().String()+"/")
	return r
}

func (r *rotation) write(name, text string) {
	r.Helper()
	path := filepath.Join(r.dir, name)
	if err := os.WriteFile(path+".new", []byte(text), 0o600); err != nil {
		r.Fatal(err)
	}
	if err := os.Rename(path+".new", path); err != nil {
		r.Fatal(err)
	}
}

// configure puts a list of secrets into the configuration.
func (r *rotation) configure(secrets string) {
	r.Helper()
	url, err := os.ReadFile(filepath.Join(r.dir, "url"))
	if err != nil {
		r.Fatal(err)
	}
	r.write("fanjet.yaml", `
version: 1
nats: {embedded: {store_dir: data, listen: "127.0.0.1:0", durability: 1s}}
admin: {listen: "127.0.0.1:0"}
egress: {allow_http: true, allow_cidrs: ["127.0.0.0/8"]}
endpoints: {rotating: {url: "`+string(url)+`", secrets: [`+secrets+`]}}
subscriptions: [{name: all, subjects: ["events.>"], endpoints: [rotating]}]
`)
	select {
	case r.hangup <- nil: // as SIGHUP does
	default:
	}
}

// serve runs the gateway until the end of the test.
func (r *rotation) serve() {
	r.Helper()
	core := zapcore.NewCore(zapcore.NewJSONEncoder(zap.NewProductionEncoderConfig()), zapcore.AddSync(r.log), zap.DebugLevel)
	watcher := config.NewWatcher(filepath.Join(r.dir, "fanjet.yaml"), config.Options{})
	cfg, err := watcher.Load()
	if err != nil {
		r.Fatal(err)
	}
	r.gw, err = gateway.New(gateway.Options{Config: cfg, Log: zap.New(core), Registry: prometheus.NewRegistry(), Grace: 10 * time.Second})
	if err != nil {
		r.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	var running sync.WaitGroup
	where := leaveWhereabouts(filepath.Join(r.dir, "fanjet.yaml"), cfg, r.gw, zap.NewNop())
	r.Cleanup(where.remove)
	running.Go(func() { follow(ctx, watcher, r.hangup, r.gw, where) })
	running.Go(func() {
		if err := r.gw.Run(ctx); err != nil {
			r.Errorf("the gateway ended: %v", err)
		}
	})
	r.Cleanup(func() { stop(); running.Wait() })
	select {
	case <-r.gw.Started():
	case <-time.After(startTimeout):
		r.Fatal("the gateway does not start")
	}
}

func (r *rotation) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	body, err := io.ReadAll(req.Body)
	if err != nil {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.signed[fmt.Sprint(len(strings.Fields(req.Header.Get("Webhook-Signature"))))]++
	for i, known := range r.secrets {
		if err = known.Verify(body, req.Header); err == nil {
			r.signed[fmt.Sprint("by ", i)]++
			r.got[string(body)]++
			return
		}
	}
	r.refused = append(r.refused, fmt.Sprint(string(body), ": ", err))
	w.WriteHeader(http.StatusUnauthorized)
}

// knows gives the receiver other secrets, and forgets what it counted.
func (r *rotation) knows(secrets ...string) {
	r.Helper()
	r.mu.Lock()
	defer r.mu.Unlock()
	r.secrets, r.signed = nil, map[string]int{}
	for _, text := range secrets {
		known, err := standard.NewWebhook(text)
		if err != nil {
			r.Fatal(err)
		}
		r.secrets = append(r.secrets, known)
	}
}

// steady waits until n requests have come that all look like this: how many
// signatures they have, and by which of the known secrets they verify first.
// Those that were signed before a change are through by then.
func (r *rotation) steady(what string, signatures string) {
	r.Helper()
	const n = 100
	r.look()
	waitUntil(r.T, what, func() bool {
		r.mu.Lock()
		defer r.mu.Unlock()
		if len(r.signed) > 2 || r.signed[signatures] == 0 { // others came meanwhile: count anew
			r.signed = map[string]int{}
		}
		return r.signed[signatures] >= n
	})
}

func (r *rotation) look() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.signed = map[string]int{}
}

// Secrets are exchanged under load, in the configuration and in the files that
// it names: every request verifies with what the receiver knows at the moment,
// and no event is lost. A broken secret leaves the good one in use.
func TestRotation(t *testing.T) {
	t.Parallel()
	r := newRotation(t)
	first, second, third := rotationSecret("first"), rotationSecret("second"), rotationSecret("third")
	r.write("old", first)
	r.write("new", second+"\n")
	r.configure("file:old")
	r.knows(first)
	r.serve()
	load := startLoad(t, r.gw.NATSURL())
	r.steady("requests are signed", "1")

	// The newest first, beside the old one; then the receiver changes over.
	r.configure("file:new, file:old")
	r.steady("both sign", "2")
	r.knows(second)
	r.steady("the receiver has the new one", "2")
	r.configure("file:new")
	r.steady("only the new one signs", "1")

	// Only the file changes. A receiver that has one place for its secret per
	// sender must take both for a while.
	r.knows(third, second)
	r.write("new", third)
	waitUntil(t, "the file is noticed", func() bool {
		r.mu.Lock()
		defer r.mu.Unlock()
		return r.signed["by 0"] > 100
	})
	r.look()
	r.steady("the new content signs", "1")
	r.knows(third)

	// What is no secret is not used, and not shown.
	const broken = "CANARY-broken-secret"
	r.write("new", broken)
	waitUntil(t, "the broken file is noticed", func() bool { return r.gw.ReloadError() != nil })
	r.steady("the last good one signs", "1")
	message := r.gw.ReloadError().Error()
	if !strings.Contains(message, filepath.Join(r.dir, "new")) || !strings.Contains(message, "fanjet.yaml:6:") {
		t.Errorf("it does not say where the broken secret is: %s", message)
	}
	if !strings.Contains(r.log.String(), "fanjet.yaml:6:") || strings.Contains(message+r.log.String(), broken) {
		t.Errorf("the log is silent, or shows the secret:\n%s", message)
	}
	r.write("new", third)
	waitUntil(t, "it is whole again", func() bool { return r.gw.ReloadError() == nil })

	n := load.stop()
	waitUntil(t, "everything has arrived", func() bool {
		r.mu.Lock()
		defer r.mu.Unlock()
		return len(r.got) == n || len(r.refused) > 0
	})
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.refused) > 0 {
		t.Errorf("%d requests could not be verified, such as %s", len(r.refused), r.refused[0])
	}
	for body, times := range r.got {
		if times != 1 {
			t.Errorf("%s came %d times", body, times)
		}
	}
	t.Logf("%d events", n)
}

// lockedBuffer is a buffer that several goroutines write to.
type lockedBuffer struct {
	mu     sync.Mutex
	buffer bytes.Buffer
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buffer.Write(p)
}

func (b *lockedBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buffer.String()
}
