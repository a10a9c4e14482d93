package config

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"net/url"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"fanjet/gateway/match"
	"fanjet/internal/broker"
	"fanjet/internal/secret"
	"fanjet/subscriber/egress"
	"fanjet/subscriber/endpoint"
	"fanjet/webhook"
)

func mustLoad(t *testing.T, path string, opts Options) *Config {
	t.Helper()
	if opts.LookupEnv == nil {
		opts.LookupEnv = environment
	}
	cfg, err := Load(path, opts)
	if err != nil {
		t.Fatalf("Load(%s):\n%v", path, err)
	}
	return cfg
}

// write makes a configuration of its own for a test.
func write(t *testing.T, text string) (path string) {
	t.Helper()
	path = filepath.Join(t.TempDir(), "fanjet.yaml")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func mustURL(t *testing.T, text string) *url.URL {
	t.Helper()
	u, err := url.Parse(text)
	if err != nil {
		t.Fatal(err)
	}
	return u
}

func secrets(t *testing.T, names ...string) []secret.Value {
	t.Helper()
	var values []secret.Value
	for _, name := range names {
		value, ok := environment(name)
		if !ok {
			t.Fatalf("no %s in the environment", name)
		}
		values = append(values, secret.New(value))
	}
	return values
}

func TestFull(t *testing.T) {
	t.Parallel()
	got := mustLoad(t, "testdata/good/full.yaml", Options{})
	base := endpoint.Settings{
		Secrets:     secrets(t, "OLD"),
		Headers:     http.Header{"X-Sender": {"shop"}, "X-Version": {"1.10"}},
		Timeout:     20 * time.Second,
		MaxInFlight: 32,
		Retry:       endpoint.Retry{Schedule: []time.Duration{time.Second, time.Second}, Jitter: 1, MaxAge: 72 * time.Hour},

		DeadLetterOn: []int{http.StatusGone},
		RateLimit:    endpoint.Rate{Count: 600, Per: time.Minute},
		Circuit:      endpoint.Circuit{Failures: 10, Probe: 500 * time.Millisecond, MaxProbe: 5 * time.Minute},
	}
	number, inherits, overrides, team := base, base, base, base
	number.Name, number.URL = "123", mustURL(t, "https://[fd00::1]:8080/")
	number.Retry.Schedule = []time.Duration{10 * time.Millisecond, 24 * time.Hour}
	number.RateLimit, number.Ordered, number.Block, number.MaxInFlight = endpoint.Rate{Count: 100, Per: time.Second}, true, true, 1
	inherits.Name, inherits.URL = "inherits", mustURL(t, "https://inherits.example.com/")
	overrides.Name, overrides.URL = "overrides", mustURL(t, "http://10.0.0.1:8080/x?y=1")
	overrides.Secrets = secrets(t, "GOOD", "OLD", "KEY", "GOOD")
	overrides.Headers = http.Header{"X-Sender": {"shop"}, "X-Version": {"2"}, "X-Own": {"yes"}}
	overrides.Timeout, overrides.MaxInFlight, overrides.DeadLetterOn = 250*time.Millisecond, 1, nil
	overrides.Retry.MaxAge = time.Hour
	overrides.RateLimit, overrides.Circuit = endpoint.Rate{}, endpoint.Circuit{Probe: 5 * time.Second, MaxProbe: 5 * time.Second}
	team.Name, team.URL, team.Secrets = "team-one", mustURL(t, "https://one.example.com/"), secrets(t, "OLD")

	want := &Config{
		NATS: broker.Settings{
			URL:    "nats://nats-1.example.com:4222, tls://nats-2.example.com",
			Prefix: "shop-1",
			Embedded: broker.Embedded{
				StoreDir: "/var/lib/fanjet", Listen: "[::1]:0", SyncInterval: 1500 * time.Millisecond,
				Anonymous: true, Subjects: []string{"orders.>", "eu.orders"},
			},
			Credentials: "testdata/secrets/good",
			TLS:         broker.TLS{CA: "testdata/secrets/good", Cert: "testdata/secrets/good", Key: "testdata/secrets/good"},
			Replicas:    3,
		},
		Sources: []Source{
			{Stream: "ORDERS", Subjects: []string{"orders.>", "eu.orders"}, Create: true, MaxAge: 168 * time.Hour, MaxBytes: 10 << 30, ByPosition: true},
			{Stream: "LEGACY"},
		},
		Admin:       Admin{Listen: "localhost:9999"},
		Delivery:    Delivery{Direct: false},
		DeadLetters: DeadLetters{MaxAge: 36 * time.Hour, MaxBytes: 1 << 20},
		Canary:      Canary{Subject: "eu.orders", Every: time.Minute, MaxAge: 10 * time.Minute},
		Egress: egress.Policy{
			AllowHTTP: true,
			AllowCIDRs: []egress.AllowedNet{
				{Prefix: netip.MustParsePrefix("10.0.0.0/8")},
				{Prefix: netip.MustParsePrefix("10.0.0.0/8"), Port: 8080},
				{Prefix: netip.MustParsePrefix("fd00::/8")},
				{Prefix: netip.MustParsePrefix("fd00::/8"), Port: 8080},
			},
			AllowMetadata: []netip.Addr{netip.MustParseAddr("fd00:ec2::254")},
			Ports:         []uint16{443, 8443},
			Proxy: egress.Proxy{
				URL: &url.URL{Scheme: "https", Host: "proxy.internal:3129"}, Username: "fanjet", Password: secret.New(sharedSecret),
			},
			MaxConnectionAge: 90 * time.Second,
		},
		Endpoints: []endpoint.Settings{number, inherits, overrides, team},
		Subscriptions: []match.Subscription{
			{
				Name: "Orders that are large (EU)", Subjects: []string{"orders.*.paid", "orders.x"},
				Filter: "data.amount > 1000 && data.region == \"eu\"\n", Endpoints: []string{"overrides", "123"},
			},
			{Name: "rest", Subjects: []string{"anything.>"}, Endpoints: []string{"inherits"}},
			{Name: "one", Subjects: []string{"orders.>"}, Endpoints: []string{"team-one", "inherits"}},
		},
		Filters:     got.Filters,
		SecretFiles: []string{"testdata/good/teams/one.secret", "testdata/secrets/good"},
		Warnings:    got.Warnings,
		Declared:    got.Declared,
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("Load of full.yaml differs\n got %#v\nwant %#v", got, want)
	}
	for i := range min(len(got.Endpoints), len(want.Endpoints)) {
		if !reflect.DeepEqual(got.Endpoints[i], want.Endpoints[i]) {
			t.Errorf("endpoint %d\n got %+v\nwant %+v", i, got.Endpoints[i], want.Endpoints[i])
		}
	}
	// LEGACY may have any subject, so nothing is said about anything.>.
	if want := []string{
		"nats.embedded: has no effect beside nats.url: the gateway uses the servers there, and starts none; remove one of them",
		"endpoints.123.circuit: never opens: an endpoint that is ordered has no circuit, its line waits for the delivery in front; remove it, or set ordered to false",
		"include[2]: matches no file",
	}; !slices.Equal(messages(got.Warnings), want) {
		t.Errorf("warnings %q, want %q", messages(got.Warnings), want)
	}
}

func messages(problems []Problem) []string {
	var list []string
	for _, p := range problems {
		list = append(list, p.Message)
	}
	return list
}

// Connections that last for ever are asked for by 0.
func TestConnectionAge(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]time.Duration{"0": 0, "0s": 0, "1s": time.Second, "1d": 24 * time.Hour} {
		cfg := mustLoad(t, write(t, "version: 1\negress: {max_connection_age: "+text+"}\n"), Options{})
		if got := cfg.Egress.MaxConnectionAge; got != want {
			t.Errorf("%s: %s", text, got)
		}
	}
}

func TestDefaults(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"minimal.yaml", "json.yaml", "crlf.yaml"} {
		cfg := mustLoad(t, "testdata/good/"+name, Options{})
		if len(cfg.Warnings) > 0 {
			t.Errorf("%s: warnings %v", name, cfg.Warnings)
		}
		want := broker.Settings{
			Prefix: "fanjet", Replicas: 1,
			Embedded: broker.Embedded{StoreDir: "testdata/good/fanjet-data", Listen: "127.0.0.1:4222", Anonymous: true, Subjects: []string{"events.>"}},
		}
		if !reflect.DeepEqual(cfg.NATS, want) {
			t.Errorf("%s: NATS %+v, want %+v", name, cfg.NATS, want)
		}
		if want := []Source{{Stream: "EVENTS", Subjects: []string{"events.>"}, Create: true, MaxAge: 168 * time.Hour}}; !reflect.DeepEqual(cfg.Sources, want) {
			t.Errorf("%s: sources %+v, want %+v", name, cfg.Sources, want)
		}
		if cfg.Admin.Listen != "127.0.0.1:8422" || cfg.DeadLetters != (DeadLetters{}) {
			t.Errorf("%s: admin %+v, dead letters %+v", name, cfg.Admin, cfg.DeadLetters)
		}
		if !cfg.Delivery.Direct {
			t.Errorf("%s: no direct delivery", name)
		}
		if want := (egress.Policy{Ports: []uint16{443}, MaxConnectionAge: 5 * time.Minute}); !reflect.DeepEqual(cfg.Egress, want) {
			t.Errorf("%s: egress %+v, want %+v", name, cfg.Egress, want)
		}
		if len(cfg.Endpoints) != 1 || len(cfg.Subscriptions) != 1 {
			t.Fatalf("%s: %d endpoints, %d subscriptions, want one of each", name, len(cfg.Endpoints), len(cfg.Subscriptions))
		}
	}
	want := endpoint.Default()
	want.Name, want.URL, want.Secrets = "a", mustURL(t, "https://a.example.com/"), secrets(t, "GOOD")
	if got := mustLoad(t, "testdata/good/minimal.yaml", Options{}).Endpoints[0]; !reflect.DeepEqual(got, want) {
		t.Errorf("endpoint %+v, want %+v", got, want)
	}
}

// An ordered endpoint has one attempt in flight, whatever the defaults say, and
// what the defaults say of ordered endpoints does not concern the others.
func TestOrderedDefaults(t *testing.T) {
	t.Parallel()
	cfg := mustLoad(t, write(t, `version: 1
defaults: {secrets: [env:GOOD], max_in_flight: 8, ordered: true, on_exhausted: block}
endpoints:
  inherits: {url: "https://a.example.com/"}
  letters: {url: "https://b.example.com/", on_exhausted: dead_letter}
  loose: {url: "https://c.example.com/", ordered: false}
subscriptions: [{name: s, subjects: [events.>], endpoints: [inherits, letters, loose]}]
`), Options{})
	if len(cfg.Warnings) > 0 {
		t.Errorf("warnings: %v", cfg.Warnings)
	}
	type line struct {
		slots          int
		ordered, block bool
	}
	want := map[string]line{"inherits": {1, true, true}, "letters": {1, true, false}, "loose": {8, false, false}}
	for _, e := range cfg.Endpoints {
		if got := (line{e.MaxInFlight, e.Ordered, e.Block}); got != want[e.Name] {
			t.Errorf("%s: %+v, want %+v", e.Name, got, want[e.Name])
		}
	}
}

// A configuration without endpoints is no error, but it is said.
func TestNothing(t *testing.T) {
	t.Parallel()
	cfg := mustLoad(t, "testdata/good/nothing.yaml", Options{})
	want := []string{"no endpoints: nothing will be delivered", "no subscriptions: nothing will be delivered"}
	if !slices.Equal(messages(cfg.Warnings), want) {
		t.Errorf("warnings %q, want %q", messages(cfg.Warnings), want)
	}
}

func TestWarnings(t *testing.T) {
	t.Parallel()
	path := write(t, `version: 1
nats: {url: "nats://bob:hunter2@nats.example.com"}
sources: [{stream: A, subjects: [a], create: false, max_age: 1h, max_bytes: 1}]
egress: {allow_cidrs: [0.0.0.0/0]}
endpoints:
  a: {url: "https://a.example.com/", secrets: [whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw], retry: {max_age: 1h}}
  unused: {url: "https://a.example.com/", secrets: [env:GOOD], ordered: true, max_in_flight: 2}
subscriptions:
  - {name: s, subjects: [b.>], endpoints: [a]}
`)
	var got []string
	for _, warning := range mustLoad(t, path, Options{}).Warnings {
		got = append(got, strings.TrimPrefix(warning.String(), path))
	}
	want := []string{
		":2:13: nats.url: contains a password or token: keep it elsewhere, and refer to it in nats.credentials, or nats.user and nats.password",
		":3:11: sources[0]: no subscription takes events of this source: they are read and dropped; subscribe to a, or remove the source",
		":3:62: sources[0].max_age: has no effect: Fanjet changes nothing about a stream with create: false",
		":3:77: sources[0].max_bytes: has no effect: Fanjet changes nothing about a stream with create: false",
		":4:24: egress.allow_cidrs[0]: opens every address of its kind, and all that listens there: name the ranges of the receivers",
		":6:48: endpoints.a.secrets[0]: a secret is written in the file: keep it elsewhere and refer to it with env:NAME or file:PATH",
		":6:96: endpoints.a.retry: the waits of the schedule add up to 22h42m35s, but max_age ends it after 1h: the last attempts are never made",
		":7:3: endpoints.unused: no subscription names this endpoint: it gets nothing",
		":7:3: endpoints.unused: has the url of a at " + path + ":6:3: an event for both is sent there twice, with one webhook-id, and a receiver takes the second for a duplicate; give each a path or a query of its own",
		":7:94: endpoints.unused.max_in_flight: has no effect: an endpoint that is ordered has one attempt in flight; remove it, or set ordered to false",
		":9:26: subscriptions[0].subjects[0]: b.> matches nothing: the sources have a",
	}
	if !slices.Equal(got, want) {
		t.Errorf("warnings\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

func TestNoSecrets(t *testing.T) {
	t.Parallel()
	none := func(name string) (string, bool) {
		t.Errorf("the environment variable %s was read", name)
		return "", false
	}
	path := write(t, `version: 1
nats: {url: nats.example.com, credentials: missing.creds, tls: {ca: missing.pem}}
endpoints:
  a: {url: "https://a.example.com/", secrets: [env:GOOD, file:missing, whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw]}
`)
	cfg := mustLoad(t, path, Options{NoSecrets: true, LookupEnv: none})
	if got := cfg.Endpoints[0].Secrets; len(got) != 1 || got[0].Reveal() != sharedSecret {
		t.Errorf("%d secrets, want the literal one only", len(got))
	}
	// What is wrong with a reference itself is found nevertheless.
	path = write(t, "version: 1\nendpoints: {a: {url: \"https://a.example.com/\", secrets: [\"env:\", whsec_short]}}\n")
	if _, err := Load(path, Options{NoSecrets: true, LookupEnv: none}); err == nil || strings.Count(err.Error(), "\n") != 1 {
		t.Errorf("Load = %v, want two problems", err)
	}
}

func TestNATSOverride(t *testing.T) {
	t.Parallel()
	path := write(t, "version: 1\nnats: {replicas: 3}\n")
	if cfg := mustLoad(t, path, Options{NATS: "nats://other:4222"}); cfg.NATS.URL != "nats://other:4222" || cfg.NATS.Replicas != 3 {
		t.Errorf("NATS %+v, want the other URL and 3 replicas", cfg.NATS)
	}
	_, err := Load(path, Options{NATS: "http://bob:hunter2@other"})
	if err == nil || !strings.Contains(err.Error(), "command line") || strings.Contains(err.Error(), "hunter2") {
		t.Errorf("Load = %v, want an error about the URL without the URL", err)
	}
}

// The starter file must work as it is; its only warning is about its secret.
func TestStarterFile(t *testing.T) {
	t.Parallel()
	key := webhook.NewSecret()
	path := write(t, string(StarterFile(key)))
	cfg := mustLoad(t, path, Options{})
	if len(cfg.Endpoints) != 1 || len(cfg.Subscriptions) != 1 {
		t.Fatalf("%d endpoints, %d subscriptions, want one of each", len(cfg.Endpoints), len(cfg.Subscriptions))
	}
	e := cfg.Endpoints[0]
	if e.URL.String() != "http://127.0.0.1:9000/" || len(e.Secrets) != 1 || e.Secrets[0].Reveal() != key {
		t.Errorf("endpoint %s at %s with %d secrets, want the development receiver with the given one", e.Name, e.URL, len(e.Secrets))
	}
	if err := cfg.Egress.Check(netip.MustParseAddrPort("127.0.0.1:9000"), false); err != nil {
		t.Errorf("the development receiver cannot be reached: %v", err)
	}
	if len(cfg.Warnings) != 1 || !strings.Contains(cfg.Warnings[0].Message, "a secret is written in the file") {
		t.Errorf("warnings %v, want the one about the secret", cfg.Warnings)
	}
	if !strings.Contains(string(StarterFile(key)), "fanjet listen --secret '"+key+"'") {
		t.Error("the file does not say how to start the receiver with its secret")
	}
}

func TestExample(t *testing.T) {
	t.Parallel()
	cfg := mustLoad(t, "../examples/fanjet.yaml", Options{NoSecrets: true})
	if len(cfg.Warnings) > 0 {
		t.Errorf("warnings: %v", cfg.Warnings)
	}
	if len(cfg.Endpoints) < 3 || len(cfg.Subscriptions) < 3 {
		t.Errorf("%d endpoints, %d subscriptions", len(cfg.Endpoints), len(cfg.Subscriptions))
	}
}

func TestMissingFile(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "fanjet.yaml")
	if _, err := Load(path, Options{}); err == nil || !strings.HasPrefix(err.Error(), path+": there is no such file: `fanjet init`") {
		t.Errorf("Load of a missing file = %v", err)
	}
	if _, err := Load(t.TempDir(), Options{}); err == nil || !strings.Contains(err.Error(), "cannot be read") {
		t.Errorf("Load of a folder = %v", err)
	}
}

// A secret may be anywhere in a broken file. Whatever is said about the file,
// and however the result is printed, none of it shows.
func TestRedaction(t *testing.T) {
	t.Parallel()
	const bare = "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
	templates := []string{
		"version: @\n",
		"@: 1\n",
		"version: 1\nendpoints: {a: {secrets: [@]}}\n",
		"version: 1\nendpoints: {a: {secrets: @}}\n",
		"version: 1\nendpoints: {a: {secrets: {@: 1}}}\n",
		"version: 1\nendpoints: {a: {secrets: [env:@]}}\n",
		"version: 1\nendpoints: {a: {secrets: [\"@\\n\"]}}\n",
		"version: 1\nendpoints: {a: {secrets: [@=]}}\n",
		"version: 1\nendpoints: {a: {secrets: [@, @]}}\n",
		"version: 1\nendpoints: {a: {url: \"https://@:@@example.com\"}}\n",
		"version: 1\nendpoints: {a: {url: \"https://x:@/y@example.com\"}}\n",
		"version: 1\nendpoints: {a: {url: \"@\"}}\n",
		"version: 1\nendpoints: {a: {headers: {\"X Y\": @, Host: @, X: \"@\\r\"}}}\n",
		"version: 1\nnats: {url: \"nats://@:@@example.com:0\"}\n",
		"version: 1\nendpoints: {a: {timeout: @, max_in_flight: @, retry: {jitter: @, schedule: [@]}}}\n",
		"version: 1\nendpoints: {a: {secrets: [@}\n",
		"version: 1\nendpoints: @: @\n",
		"version: 1\nsubscriptions: [{name: a, filter: \"@ +\", subjects: [a.@..], endpoints: [@]}]\n",
	}
	for _, prefix := range []string{"whsec_", "whsk_"} {
		for i, template := range templates {
			path := write(t, strings.ReplaceAll(template, "@", prefix+bare))
			cfg, err := Load(path, Options{LookupEnv: environment})
			shown := fmt.Sprint(err)
			if problems, ok := errors.AsType[*Errors](err); ok {
				shown += fmt.Sprint(problems.Warnings)
			}
			if cfg != nil {
				shown += fmt.Sprintf("%v %+v %#v", *cfg, *cfg, *cfg)
			}
			if strings.Contains(shown, bare) {
				t.Errorf("template %d with %s shows the secret:\n%s", i, prefix, shown)
			}
		}
	}
	// Without its prefix it is known as a secret only where secrets belong.
	for i, template := range templates[2:14] {
		path := write(t, strings.ReplaceAll(template, "@", bare))
		if _, err := Load(path, Options{LookupEnv: environment}); i != 3 && strings.Contains(fmt.Sprint(err), bare) {
			t.Errorf("template %d shows the secret: %v", i+2, err)
		}
	}
	cfg := mustLoad(t, "testdata/good/full.yaml", Options{})
	encoded, err := json.Marshal(cfg)
	if err != nil {
		t.Fatal(err)
	}
	for _, shown := range []string{string(encoded), fmt.Sprintf("%v %+v %#v", *cfg, *cfg, *cfg)} {
		if strings.Contains(shown, bare) {
			t.Errorf("the configuration shows a secret: %s", shown)
		}
	}
}
