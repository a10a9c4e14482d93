package config

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"fanjet/subscriber/endpoint"
)

// FuzzLoad loads anything, without a file system. Loading must end, never
// panic, and either give a configuration that keeps its promises or say where
// it is wrong, with no secret in what it says.
func FuzzLoad(f *testing.F) {
	for _, pattern := range []string{"testdata/bad/*.yaml", "testdata/good/*.yaml", "testdata/teams/*.yaml", "../examples/*.yaml"} {
		paths, err := filepath.Glob(pattern)
		if err != nil {
			f.Fatal(err)
		}
		for _, path := range paths {
			data, err := os.ReadFile(path)
			if err != nil {
				f.Fatal(err)
			}
			f.Add(data)
		}
	}
	f.Add(StarterFile(sharedSecret))
	for _, hostile := range []string{
		strings.Repeat("[", 5000),
		strings.Repeat("{a: ", 5000),
		strings.Repeat("- ", 5000),
		strings.Repeat("? ", 5000),
		strings.Repeat("&a ", 5000),
		strings.Repeat("!a ", 5000),
		"a: &a [*a, *a]\nb: *a\n",
		"version: 1\nendpoints: {a: {secrets: [whsec_" + strings.Repeat("A", 100) + "]}}\n",
		"version: 1\nsubscriptions: [{filter: \"" + strings.Repeat("(", 500) + "\"}]\n",
		"version: 1\ninclude: [{files: a.yaml, secrets: [\"env:G*\", \"file:s[*\", \"whsec_*\"]}]\n",
		"version: 1\ninclude: [" + strings.Repeat("a*, b, ", 100) + "]\n",
	} {
		f.Add([]byte(hostile))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		files := files{
			read: func(path string) ([]byte, error) {
				switch path {
				case "fanjet.yaml", "a.yaml": // included too
					return data, nil
				case "secret":
					return []byte(sharedSecret), nil
				}
				return nil, fs.ErrNotExist
			},
			glob:    func(string) ([]string, error) { return []string{"a.yaml", "fanjet.yaml", "secret"}, nil },
			resolve: func(path string) (string, error) { return path, nil },
		}
		cfg, err := load("fanjet.yaml", Options{LookupEnv: environment}, files)
		if err != nil {
			problems, ok := errors.AsType[*Errors](err)
			if !ok || len(problems.Problems) == 0 || cfg != nil {
				t.Fatalf("load = %v, %v; want *Errors with problems", cfg, err)
			}
			for _, p := range append(problems.Problems, problems.Warnings...) {
				checkProblem(t, p, data)
			}
			return
		}
		for _, p := range cfg.Warnings {
			checkProblem(t, p, data)
		}
		checkConfig(t, cfg)
	})
}

func checkProblem(t *testing.T, p Problem, data []byte) {
	t.Helper()
	lines := 1 + strings.Count(string(data), "\n") + strings.Count(string(data), "\r")
	if p.File == "" || p.Message == "" || p.Line < 0 || p.Column < 0 || (p.Line == 0) != (p.Column == 0) || p.Line > lines+1 {
		t.Errorf("a problem without a place or message: %+v, the file has %d lines", p, lines)
	}
	if strings.ContainsAny(p.Message, "\n\x00") {
		t.Errorf("a message of several lines: %q", p.Message)
	}
	if strings.Contains(p.Message, strings.TrimPrefix(sharedSecret, "whsec_")) && !strings.Contains(string(data), strings.TrimPrefix(sharedSecret, "whsec_")) {
		t.Errorf("a message with a secret from the environment: %q", p.Message)
	}
}

// checkConfig checks what users of a configuration rely on.
func checkConfig(t *testing.T, cfg *Config) {
	t.Helper()
	if cfg.NATS.Prefix == "" || cfg.NATS.Replicas < 1 || cfg.Admin.Listen == "" || len(cfg.Sources) == 0 {
		t.Errorf("incomplete: %+v", cfg)
	}
	names := make(map[string]bool)
	for _, e := range cfg.Endpoints {
		if names[e.Name] || e.URL == nil || len(e.Secrets) == 0 || e.Timeout <= 0 || e.MaxInFlight < 1 || len(e.Retry.Schedule) == 0 || e.Retry.MaxAge <= 0 {
			t.Errorf("an endpoint that cannot be used: %+v", e)
		}
		if e.Block && !e.Ordered || e.Ordered && e.MaxInFlight != 1 || e.Circuit.Failures < 0 || e.Circuit.Probe <= 0 || e.Circuit.Probe > e.Circuit.MaxProbe ||
			(e.RateLimit != endpoint.Rate{}) && (e.RateLimit.Count < 1 || e.RateLimit.Per < time.Second) {
			t.Errorf("an endpoint with a pace that cannot be: %+v", e)
		}
		names[e.Name] = true
	}
	for _, s := range cfg.Subscriptions {
		if s.Name == "" || len(s.Subjects) == 0 || len(s.Endpoints) == 0 {
			t.Errorf("a subscription that cannot be used: %+v", s)
		}
		for _, name := range s.Endpoints {
			if !names[name] {
				t.Errorf("subscription %q names endpoint %q, which is not there", s.Name, name)
			}
		}
	}
	for _, s := range cfg.Sources {
		if s.Stream == "" || s.Create && len(s.Subjects) == 0 || s.MaxAge < 0 || s.MaxBytes < 0 {
			t.Errorf("a source that cannot be used: %+v", s)
		}
	}
}
