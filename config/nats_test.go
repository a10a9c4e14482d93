package config

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// What says who Fanjet is to a server of somebody else, and where JetStream is on
// it.
func TestNATSOfOthers(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for name, text := range map[string]string{"user": "from-file\n", "password": "hunter2 from a file\n", "main.creds": "x"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	env := func(name string) (string, bool) {
		values := map[string]string{"NATS_USER": "from-env", "NATS_PASSWORD": "hunter2 from the environment"}
		value, ok := values[name]
		return value, ok
	}
	for name, tt := range map[string]struct {
		nats           string
		opts           Options
		user, password string
		warning        string // part of the only one; empty: there is none
		problem        string // part of the only one; empty: there is none
	}{
		"of the environment":             {nats: `user: "env:NATS_USER", password: "env:NATS_PASSWORD"`, user: "from-env", password: "hunter2 from the environment"},
		"of files":                       {nats: `user: "file:user", password: "file:password"`, user: "from-file", password: "hunter2 from a file"},
		"a name in the file":             {nats: `user: gateway, password: "env:NATS_PASSWORD"`, user: "gateway", password: "hunter2 from the environment"},
		"a password in the file":         {nats: `user: gateway, password: "hunter2"`, user: "gateway", password: "hunter2", warning: "nats.password: a secret is written in the file"},
		"not to be read":                 {nats: `user: "env:NATS_USER", password: "file:missing"`, opts: Options{NoSecrets: true}},
		"not to be read, but to connect": {nats: `user: gateway, password: "env:NATS_PASSWORD"`, opts: Options{NoSecrets: true, Connects: true}, user: "gateway", password: "hunter2 from the environment"},
		"to connect, and missing":        {nats: `user: gateway, password: "env:MISSING"`, opts: Options{NoSecrets: true, Connects: true}, problem: "the environment variable MISSING is not set"},
		"no such file":                   {nats: `user: gateway, password: "file:missing"`, problem: "cannot be read"},
		"no password":                    {nats: `user: gateway`, problem: "nats: user and password belong together"},
		"no user":                        {nats: `password: "env:NATS_PASSWORD"`, problem: "nats: user and password belong together"},
		"two users":                      {nats: `user: gateway, password: "env:NATS_PASSWORD", credentials: main.creds`, problem: "nats.user: nats.credentials names a user already"},
		"a variable without a name":      {nats: `user: "env:", password: "env:NATS_PASSWORD"`, problem: "nats.user: must name an environment variable"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			path := filepath.Join(dir, strings.ReplaceAll(name, " ", "-")+".yaml")
			text := fmt.Sprintf("version: 1\nnats: {url: \"nats://nats.example.com\", domain: hub, tls: {handshake_first: true}, %s}\n", tt.nats)
			if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
			tt.opts.LookupEnv = env
			cfg, err := Load(path, tt.opts)
			if tt.problem != "" {
				if err == nil || !strings.Contains(err.Error(), tt.problem) || strings.Contains(err.Error(), "\n") || strings.Contains(err.Error(), "hunter2") {
					t.Fatalf("Load = %v, want a problem with %q", err, tt.problem)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			s := cfg.NATS
			if s.User.Reveal() != tt.user || s.Password.Reveal() != tt.password || s.Domain != "hub" || !s.TLS.HandshakeFirst {
				t.Errorf("user %q, password %q, %+v", s.User.Reveal(), s.Password.Reveal(), s)
			}
			if shown := fmt.Sprintf("%v %+v %#v", s, s, cfg.NATS); strings.Contains(shown, "hunter2") {
				t.Errorf("the password is shown: %s", shown)
			}
			var warned []string
			for _, warning := range messages(cfg.Warnings) {
				if strings.HasPrefix(warning, "nats") {
					warned = append(warned, warning)
				}
			}
			if tt.warning == "" && len(warned) > 0 || tt.warning != "" && (len(warned) != 1 || !strings.Contains(warned[0], tt.warning)) {
				t.Errorf("warnings %q, want %q", warned, tt.warning)
			}
		})
	}
}

// A domain is a token of subjects, and what is for servers of others does nothing
// for the embedded one.
func TestNATSOfOthersRefused(t *testing.T) {
	t.Parallel()
	for _, domain := range []string{"a.b", "a b", `"*"`, `">"`, `"tab\there"`, strings.Repeat("x", 256)} {
		path := write(t, "version: 1\nnats: {url: nats.example.com, domain: "+domain+"}\n")
		if _, err := Load(path, Options{}); err == nil || !strings.Contains(err.Error(), "nats.domain: must be the name of a JetStream domain") {
			t.Errorf("domain %s: %v", domain, err)
		}
	}
	path := write(t, `version: 1
nats: {domain: hub, user: gateway, password: "env:GOOD", tls: {handshake_first: true}}
`)
	env := func(string) (string, bool) { return "hunter2", true }
	var warned []string
	for _, warning := range messages(mustLoad(t, path, Options{LookupEnv: env}).Warnings) {
		if strings.Contains(warning, "has no effect on the embedded server") {
			key, _, _ := strings.Cut(warning, ":")
			warned = append(warned, key)
		}
	}
	if got := strings.Join(warned, " "); got != "nats.domain nats.user nats.password nats.tls" {
		t.Errorf("warnings about %q", got)
	}
	path = write(t, `version: 1
nats: {url: "nats://bob:hunter2@nats.example.com", user: gateway, password: "env:GOOD"}
`)
	if _, err := Load(path, Options{LookupEnv: env}); err == nil || !strings.Contains(err.Error(), "nats.url names a user already") || strings.Contains(err.Error(), "hunter2") {
		t.Errorf("two users: %v", err)
	}
}

// DataDir is where a relative store_dir is, whatever folder the file is in; an
// absolute one stays.
func TestDataDir(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"":                                 "/data/fanjet-data",
		"store_dir: ./fanjet-data":         "/data/fanjet-data",
		"store_dir: streams/a":             "/data/streams/a",
		"store_dir: .":                     "/data",
		"store_dir: /var/lib/fanjet":       "/var/lib/fanjet",
		"store_dir: /var/lib/fanjet/../x/": "/var/lib/x",
	} {
		path := write(t, "version: 1\nnats:\n  embedded: {"+text+"}\n")
		if got := mustLoad(t, path, Options{DataDir: "/data"}).NATS.Embedded.StoreDir; got != want {
			t.Errorf("%s: %s, want %s", text, got, want)
		}
	}
	path := write(t, "version: 1\nnats: {embedded: {store_dir: streams}}\n")
	if got, want := mustLoad(t, path, Options{}).NATS.Embedded.StoreDir, filepath.Join(filepath.Dir(path), "streams"); got != want {
		t.Errorf("without: %s, want %s", got, want)
	}
}
