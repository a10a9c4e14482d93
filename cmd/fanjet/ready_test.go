package main

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestReady(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name   string
		answer http.HandlerFunc
		code   int
		want   string
	}{
		{"ready", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, "ok") }, exitOK, "ready\n"},
		{"not ready", func(w http.ResponseWriter, _ *http.Request) {
			http.Error(w, "not connected to NATS", http.StatusServiceUnavailable)
		}, exitFailure, "fanjet: not ready (503 Service Unavailable): not connected to NATS\n"},
		{"another program", http.NotFound, exitFailure, "fanjet: not ready (404 Not Found): 404 page not found\n"},
		{"a broken answer", func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }, exitFailure, "fanjet: the gateway does not answer: "},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			mux := http.NewServeMux()
			mux.HandleFunc("GET /readyz", tt.answer)
			server := httptest.NewServer(mux)
			defer server.Close()
			got := runFanjet(t, "ready", "--config", writeConfig(t, server.Listener.Addr().String()))
			if text := got.out + got.err; got.code != tt.code || !strings.HasPrefix(text, tt.want) {
				t.Errorf("ended with %d and %q, want %d and %q", got.code, text, tt.code, tt.want)
			}
		})
	}
}

// A mistake in the file leaves the version before in force, so the gateway is asked all
// the same, unless the mistake hides where.
func TestReadyDespiteAMistake(t *testing.T) {
	t.Parallel()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, "ok") }))
	t.Cleanup(server.Close) // after the subtests, which are parallel
	for _, tt := range []struct {
		name, from, to string
		code           int
		out, err       string
	}{
		{"in an endpoint", "https://dev", "ftp://dev", exitOK, "ready\n", "cannot be used by a gateway"},
		{"in a subscription", "[dev]", "[dve]", exitOK, "ready\n", "cannot be used by a gateway"},
		{"an unknown key", "version: 1", "version: 1\nendpiont: {}", exitOK, "ready\n", "cannot be used by a gateway"},
		{"an included file that is gone", "version: 1", "version: 1\ninclude: [teams.yaml]", exitOK, "ready\n", "cannot be used by a gateway"},
		{"in admin", "listen:", "lisen:", exitFailure, "", "unknown key"},
		{"no YAML", "endpoints:", "endpoints: {", exitOK, "ready\n", "cannot be used by a gateway"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			path := writeConfig(t, server.Listener.Addr().String())
			text, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(path, []byte(strings.Replace(string(text), tt.from, tt.to, 1)), 0o600); err != nil {
				t.Fatal(err)
			}
			got := runFanjet(t, "ready", "--config", path)
			if got.code != tt.code || got.out != tt.out || !strings.Contains(got.err, tt.err) {
				t.Errorf("ended with %d, %q and %q", got.code, got.out, got.err)
			}
		})
	}
}

// writeConfig writes a configuration with an admin listener.
func writeConfig(t *testing.T, admin string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "fanjet.yaml")
	text := fmt.Sprintf(`version: 1
admin: {listen: %q}
endpoints:
  dev: {url: "https://dev.example.com/", secrets: [env:DEV_SECRET]}
subscriptions:
  - {name: all, subjects: ["events.>"], endpoints: [dev]}
`, admin)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}
