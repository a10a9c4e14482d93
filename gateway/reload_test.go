package gateway

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"fanjet/config"
	"fanjet/gateway/match"
	"fanjet/subscriber"
	"fanjet/subscriber/egress"
	"fanjet/subscriber/endpoint"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest"
	"go.uber.org/zap/zaptest/observer"
)

// version returns a copy of the configuration with other endpoints and
// subscriptions.
func (w *world) version(endpoints []endpoint.Settings, subscriptions []match.Subscription) *config.Config {
	next := *w.cfg
	next.Endpoints, next.Subscriptions = endpoints, subscriptions
	return &next
}

func (w *world) reload(cfg *config.Config) config.Changes {
	w.Helper()
	changes, err := w.gw.Reload(cfg)
	if err != nil {
		w.Fatal(err)
	}
	return changes
}

// While events flow, the configuration changes again and again: what stays in
// it misses nothing and gets nothing twice, and every event goes to all of one
// version.
func TestReloadWhileEventsFlow(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.start()
	b, c := endpointFor(t, w.hook, "b"), endpointFor(t, w.hook, "c")
	steady := w.cfg.Subscriptions[0]
	both := match.Subscription{Name: "both", Subjects: []string{"events.>"}, Endpoints: []string{"b", "c"}}
	with := w.version([]endpoint.Settings{w.cfg.Endpoints[0], b, c}, []match.Subscription{steady, both})
	slower := w.version([]endpoint.Settings{w.cfg.Endpoints[0], b, c}, with.Subscriptions)
	slower.Endpoints[0].MaxInFlight = 2

	const rounds, perRound = 12, 100
	for round := range rounds {
		w.reload([]*config.Config{with, slower, with, w.cfg}[round%4])
		w.publishMany("events.x", perRound)
	}
	w.reload(with)
	w.publish("events.last", `{"n":-1}`, nil)
	w.delivered("a", rounds*perRound+1)
	w.waitFor("the last event has reached b and c", func() bool {
		return slices.ContainsFunc(w.hook.got("b"), isLast) && slices.ContainsFunc(w.hook.got("c"), isLast)
	})
	w.quiet()
	once := func(endpoint string) map[string]int {
		times := map[string]int{}
		for _, r := range w.hook.got(endpoint) {
			if times[r.id]++; times[r.id] > 1 {
				t.Errorf("%s came %d times to %s", r.id, times[r.id], endpoint)
			}
		}
		return times
	}
	if n := len(once("a")); n != rounds*perRound+1 {
		t.Errorf("a has %d events, want %d", n, rounds*perRound+1)
	}
	toB, toC := once("b"), once("c")
	for id := range toB {
		if toC[id] == 0 {
			t.Errorf("%s went to b, but not to c", id)
		}
	}
	if len(toB) != len(toC) || len(toB) < 2 {
		t.Errorf("b has %d events, c %d", len(toB), len(toC))
	}
	if n := w.messages(w.gw.names.DeadLettersStream()); n != 0 {
		t.Errorf("%d dead letters", n)
	}
}

func isLast(r request) bool { return r.body == `{"n":-1}` }

// An attempt in flight goes on when its endpoint changes, and is not made again.
func TestReloadLeavesAttemptsInFlight(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	release := w.hook.block("a")
	w.start()
	w.publish("events.x", "{}", nil)
	w.waitFor("the attempt is made", func() bool { return len(w.hook.all()) == 1 })
	changed := w.version([]endpoint.Settings{w.cfg.Endpoints[0]}, w.cfg.Subscriptions)
	changed.Endpoints[0].Headers = http.Header{"X-New": {"yes"}}
	if changes := w.reload(changed); !slices.Equal(changes.Endpoints.Changed, []string{"a"}) {
		t.Errorf("changes %+v", changes)
	}
	release()
	w.delivered("a", 1)
	w.quiet()
	if n := len(w.hook.all()); n != 1 {
		t.Errorf("%d attempts", n)
	}
}

// A version that cannot be put into force changes nothing, and is remembered
// until one can.
func TestReloadRefused(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.start()
	bad := w.version([]endpoint.Settings{endpointFor(t, w.hook, "b")},
		[]match.Subscription{{Name: "all", Subjects: []string{"events.>"}, Filter: "data.", Endpoints: []string{"b"}}})
	if _, err := w.gw.Reload(bad); err == nil || w.gw.ReloadError() == nil {
		t.Fatalf("Reload = %v, remembered %v", err, w.gw.ReloadError())
	}
	bad.Subscriptions[0].Filter, bad.Endpoints[0].Secrets = "", nil
	if _, err := w.gw.Reload(bad); err == nil || w.gw.ReloadError() == nil {
		t.Fatalf("Reload = %v, remembered %v", err, w.gw.ReloadError())
	}
	w.publish("events.x", "{}", nil)
	w.delivered("a", 1)
	w.quiet()
	if got := w.hook.got("b"); len(got) != 0 {
		t.Errorf("b got %d events", len(got))
	}
	w.reload(w.cfg)
	if err := w.gw.ReloadError(); err != nil {
		t.Errorf("still remembered: %v", err)
	}
	w.stop()
	if _, err := w.gw.Reload(w.cfg); !errors.Is(err, subscriber.ErrStopping) {
		t.Errorf("Reload after the stop = %v", err)
	}
}

// Before it runs, a gateway starts with the version that came last.
func TestReloadBeforeRun(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	next := w.version([]endpoint.Settings{endpointFor(t, w.hook, "b")}, []match.Subscription{{Name: "all", Subjects: []string{"events.>"}, Endpoints: []string{"b"}}})
	var err error
	w.gw, err = New(Options{Config: w.cfg, Log: zaptest.NewLogger(t, zaptest.Level(zap.WarnLevel))})
	if err != nil {
		t.Fatal(err)
	}
	w.reload(next)
	w.stop = w.launch(w.gw)
	w.publish("events.x", "{}", nil)
	w.delivered("b", 1)
	w.quiet()
	if got := w.hook.got("a"); len(got) != 0 {
		t.Errorf("a got %d events", len(got))
	}
}

// closeAdmin lets the listener of a gateway go that was never run.
func closeAdmin(t *testing.T, gw *Gateway) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if err := gw.admin.Run(ctx); err != nil {
		t.Error(err)
	}
}

// order writes down what becomes of a set of endpoints and of the matcher.
type order struct {
	gw    *Gateway
	steps []string
	fail  int // the call to Apply that fails, from 1; 0: none
	calls int

	stopping error // of every call
}

func (o *order) Apply(endpoints []endpoint.Settings, _ egress.Policy) error {
	var names []string
	for _, e := range endpoints {
		names = append(names, e.Name)
	}
	slices.Sort(names)
	routed := o.gw.match.Load().Match(&match.Event{Subject: "events.x"}, nil, nil)
	o.steps = append(o.steps, fmt.Sprintf("%s while events go to %s", strings.Join(names, "+"), strings.Join(routed, "+")))
	if o.calls++; o.calls == o.fail {
		return errors.New("no")
	}
	return o.stopping
}

// At no time does an event go to an endpoint that is not known.
func TestReloadOrder(t *testing.T) {
	t.Parallel()
	subscription := func(endpoint string) []match.Subscription {
		return []match.Subscription{{Name: "all", Subjects: []string{"events.>"}, Endpoints: []string{endpoint}}}
	}
	for name, tt := range map[string]struct {
		fail  int
		want  []string
		after string // where events go then
	}{
		"succeeds":      {0, []string{"a+b while events go to a", "b while events go to b"}, "b"},
		"cannot add":    {1, []string{"a+b while events go to a"}, "a"},
		"cannot remove": {2, []string{"a+b while events go to a", "b while events go to b", "a while events go to a"}, "a"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			old := &config.Config{Endpoints: []endpoint.Settings{{Name: "a"}}, Subscriptions: subscription("a")}
			gw, err := New(Options{Config: &config.Config{Admin: config.Admin{Listen: "127.0.0.1:0"}, Endpoints: old.Endpoints, Subscriptions: old.Subscriptions}})
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { closeAdmin(t, gw) })
			o := &order{gw: gw, fail: tt.fail}
			if err := gw.reloading.join(o, gw.reloading.config()); err != nil {
				t.Fatal(err)
			}
			next := *gw.config
			next.Endpoints, next.Subscriptions = []endpoint.Settings{{Name: "b"}}, subscription("b")
			_, err = gw.Reload(&next)
			if (err != nil) != (tt.fail > 0) {
				t.Errorf("Reload = %v", err)
			}
			routed := gw.match.Load().Match(&match.Event{Subject: "events.x"}, nil, nil)
			if !slices.Equal(o.steps, tt.want) || !slices.Equal(routed, []string{tt.after}) {
				t.Errorf("steps %q, want %q; then events go to %v, want %s", o.steps, tt.want, routed, tt.after)
			}
		})
	}
}

// A reload that meets a stop is called off: nothing is wrong with its file.
func TestReloadMeetsAStop(t *testing.T) {
	t.Parallel()
	gw, err := New(Options{Config: &config.Config{Admin: config.Admin{Listen: "127.0.0.1:0"}}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { closeAdmin(t, gw) })
	if err := gw.reloading.join(&order{gw: gw, stopping: subscriber.ErrStopping}, gw.reloading.config()); err != nil {
		t.Fatal(err)
	}
	next := *gw.config
	next.Endpoints = []endpoint.Settings{{Name: "b"}}
	if _, err := gw.Reload(&next); !errors.Is(err, subscriber.ErrStopping) || gw.ReloadError() != nil {
		t.Errorf("Reload = %v, remembered %v", err, gw.ReloadError())
	}
}

// What a reload does is said in the log and in the metrics.
func TestReloadReports(t *testing.T) {
	t.Parallel()
	core, logs := observer.New(zap.DebugLevel)
	registry := prometheus.NewRegistry()
	cfg := &config.Config{Admin: config.Admin{Listen: "127.0.0.1:0"}}
	gw, err := New(Options{Config: cfg, Log: zap.New(core), Registry: registry})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { closeAdmin(t, gw) })
	metrics := func() (text string) {
		recorder := httptest.NewRecorder()
		promhttp.HandlerFor(registry, promhttp.HandlerOpts{}).ServeHTTP(recorder, httptest.NewRequest(http.MethodGet, "/", nil))
		data, _ := io.ReadAll(recorder.Body)
		return string(data)
	}
	check := func(level, message string, fields map[string]any, metric ...string) {
		t.Helper()
		entries := logs.TakeAll()
		if len(entries) == 0 {
			t.Fatalf("nothing is logged, want %q", message)
		}
		last := entries[len(entries)-1]
		if last.Message != message || last.Level.String() != level || fmt.Sprint(last.ContextMap()) != fmt.Sprint(fields) {
			t.Errorf("logged %s %q %v, want %s %q %v", last.Level, last.Message, last.ContextMap(), level, message, fields)
		}
		for _, want := range metric {
			if !strings.Contains(metrics(), "\n"+want+"\n") {
				t.Errorf("the metrics lack %s", want)
			}
		}
	}
	if text := metrics(); !strings.Contains(text, "\nfanjet_config_reload_success 1\n") || !strings.Contains(text, "fanjet_config_reload_timestamp_seconds 1.") ||
		!strings.Contains(text, `fanjet_config_reloads_total{result="failure"} 0`) {
		t.Errorf("metrics at the start:\n%s", text)
	}

	many := *cfg
	for i := range 12 {
		many.Endpoints = append(many.Endpoints, endpoint.Settings{Name: fmt.Sprintf("e%02d", i)})
	}
	many.Subscriptions = []match.Subscription{{Name: "s", Subjects: []string{"a"}, Endpoints: []string{"e00"}}}
	reload := func(cfg *config.Config) {
		t.Helper()
		if _, err := gw.Reload(cfg); err != nil {
			t.Fatal(err)
		}
	}
	reload(&many)
	check("info", "configuration reloaded", map[string]any{
		"endpoints_added": 12, "endpoints_added_names": "e00, e01, e02, e03, e04, e05, e06, e07, e08, e09, …",
		"subscriptions_added": 1, "subscriptions_added_names": "s",
	}, `fanjet_config_reloads_total{result="success"} 1`)
	reload(&many)
	check("debug", "configuration reloaded; nothing has changed", map[string]any{}, `fanjet_config_reloads_total{result="success"} 2`)

	gw.ReloadFailed(&config.Errors{Problems: []config.Problem{{File: "f", Line: 1, Column: 2, Message: "bad"}, {File: "g", Message: "worse"}}})
	check("error", "the new configuration is not used; the one before stays in force", map[string]any{"problems": []any{"f:1:2: bad", "g: worse"}},
		"fanjet_config_reload_success 0", `fanjet_config_reloads_total{result="failure"} 1`)

	other := many
	other.Endpoints, other.Egress.AllowHTTP = many.Endpoints[1:], true
	other.NATS.Prefix, other.DeadLetters.MaxBytes = "other", 1
	other.Warnings = []config.Problem{{File: "f", Message: "odd"}}
	reload(&other)
	entries := logs.All()
	if len(entries) != 3 || entries[0].Message != "configuration" || entries[1].Level != zap.WarnLevel ||
		fmt.Sprint(entries[1].ContextMap()["keys"]) != "[nats.prefix dead_letters]" {
		t.Errorf("logged %v", entries)
	}
	check("info", "configuration reloaded", map[string]any{"egress_changed": true, "endpoints_removed": 1, "endpoints_removed_names": "e00"},
		"fanjet_config_reload_success 1")
	if gw.reloading.config().NATS.Prefix != "" {
		t.Error("what needs a restart counts as in force")
	}
	reload(&other) // the restart is still due, the warning of the file is known
	entries = logs.TakeAll()
	if len(entries) != 2 || entries[0].Message != "a part of the new configuration takes effect after a restart" {
		t.Errorf("logged %v", entries)
	}
}
