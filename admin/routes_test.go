package admin

import (
	"encoding/json"
	"io"
	"log"
	"net/http"
	"strings"
	"testing"

	"fanjet/internal/audit"
)

// routeCase is a request that succeeds, and what it leaves.
type routeCase struct {
	path, body string
	scope      Scope          // that it needs; empty: none
	leaves     []audit.Action // records, the oldest first
}

// cases has a request for every route, by its method and pattern.
var cases = map[string]routeCase{
	"GET /{$}":                              {"/", "", "", nil},
	"GET /livez":                            {"/livez", "", "", nil},
	"GET /readyz":                           {"/readyz", "", "", nil},
	"GET /metrics":                          {"/metrics", "", ScopeRead, nil},
	"GET /api/v1/endpoints":                 {"/api/v1/endpoints", "", ScopeRead, nil},
	"GET /api/v1/endpoints/{name}":          {"/api/v1/endpoints/billing", "", ScopeRead, nil},
	"POST /api/v1/endpoints/{name}/pause":   {"/api/v1/endpoints/billing/pause", `{"reason":"r"}`, ScopeOperate, []audit.Action{audit.Pause}},
	"POST /api/v1/endpoints/{name}/resume":  {"/api/v1/endpoints/billing/resume", "", ScopeOperate, []audit.Action{audit.Resume}},
	"POST /api/v1/endpoints/{name}/ping":    {"/api/v1/endpoints/billing/ping", `{"timeout":"3s"}`, ScopeOperate, []audit.Action{audit.Ping}},
	"GET /api/v1/dead-letters":              {"/api/v1/dead-letters?endpoint=billing&since=1h", "", ScopeRead, nil},
	"GET /api/v1/dead-letters/{seq}":        {"/api/v1/dead-letters/1", "", ScopeRead, nil},
	"POST /api/v1/dead-letters/replay":      {"/api/v1/dead-letters/replay", `{"reason":"rejected"}`, ScopeOperate, []audit.Action{audit.Replay, audit.Replay}},
	"POST /api/v1/dead-letters/purge":       {"/api/v1/dead-letters/purge", `{"reason":"rejected"}`, ScopeAdmin, []audit.Action{audit.Purge, audit.Purge}},
	"GET /api/v1/audit":                     {"/api/v1/audit?limit=5", "", ScopeRead, nil},
	"GET /api/v1/dead-letters/{seq} (body)": {"/api/v1/dead-letters/1?body=1", "", ScopeOperate, nil},
}

// Every route, without a token, with a wrong one, and with one of each scope:
// what is answered, and what is recorded.
func TestRoutes(t *testing.T) {
	t.Parallel()
	// Behind a proxy, or /metrics would be free for this machine.
	w := newWorld(t, Settings{Listen: "127.0.0.1:0", Tokens: tokens(), BehindTLSProxy: true})
	w.server.failures = newClientLimits(1e6, 1e6)
	w.addLetters(1, "billing")
	for _, r := range w.server.routes(log.New(io.Discard, "", 0)) {
		if _, ok := cases[r.method+" "+r.path]; !ok {
			t.Errorf("%s %s is not tested", r.method, r.path)
		}
	}
	for name, c := range cases {
		method, _, _ := strings.Cut(name, " ")
		for _, who := range []struct {
			name, token string
			scope       Scope
			refused     int
		}{
			{"nobody", "", "", http.StatusUnauthorized},
			{"a wrong token", "a-wrong-token-of-many-bytes-and-more", "", http.StatusUnauthorized},
			{"read", tokenOf(ScopeRead), ScopeRead, http.StatusForbidden},
			{"operate", tokenOf(ScopeOperate), ScopeOperate, http.StatusForbidden},
			{"admin", tokenOf(ScopeAdmin), ScopeAdmin, http.StatusForbidden},
		} {
			before := len(w.records())
			resp, body := w.do(method, c.path, who.token, c.body)
			want, leaves := http.StatusOK, c.leaves
			if !who.scope.Covers(c.scope) {
				want, leaves = who.refused, nil
			}
			if resp.StatusCode != want {
				t.Errorf("%s with %s: %d %s, want %d", name, who.name, resp.StatusCode, body, want)
			}
			if want != http.StatusOK {
				checkProblem(t, name, resp, body)
			}
			if (resp.Header.Get("WWW-Authenticate") != "") != (want == http.StatusUnauthorized) {
				t.Errorf("%s with %s: WWW-Authenticate is %q", name, who.name, resp.Header.Get("WWW-Authenticate"))
			}
			records := w.records()
			if len(records)-before != len(leaves) {
				t.Errorf("%s with %s: %d records, want %d", name, who.name, len(records)-before, len(leaves))
				continue
			}
			for i, action := range leaves {
				r := records[len(leaves)-1-i]
				if r.Action != action || r.Via != audit.ViaAPI || r.Actor.Name != "name-of-"+string(who.scope) || !r.Actor.Authenticated || r.Actor.Host != "127.0.0.1" {
					t.Errorf("%s with %s: recorded %+v", name, who.name, r)
				}
			}
		}
	}
	// A token is nowhere.
	for _, entry := range w.logs.All() {
		text, err := json.Marshal(entry.ContextMap())
		if err != nil {
			t.Fatal(err)
		}
		if strings.Contains(string(text), "many-bytes") {
			t.Errorf("a token is in the log: %s %s", entry.Message, text)
		}
	}
	if n := w.logs.FilterMessage("an operator acted").FilterField(zapString("actor", "name-of-operate")).Len(); n != 4 {
		t.Errorf("%d acts of the operator were logged, want 4", n)
	}
	_, metrics := w.do("GET", "/metrics", tokenOf(ScopeRead), "")
	for _, want := range []string{
		`fanjet_admin_requests_total{class="2xx",method="POST",route="/api/v1/endpoints/{name}/pause"} 2`,
		`fanjet_admin_requests_total{class="4xx",method="POST",route="/api/v1/dead-letters/purge"} 4`,
		`fanjet_admin_refused_total{reason="scope"} `, `fanjet_audit_records_total{result="failed"} 0`,
	} {
		if !strings.Contains(metrics, want) {
			t.Errorf("the metrics lack %s", want)
		}
	}
	if strings.Contains(metrics, "many-bytes") {
		t.Error("a token is in the metrics")
	}
}

// checkProblem checks the form of what says that a request failed.
func checkProblem(t *testing.T, name string, resp *http.Response, body string) {
	t.Helper()
	var p problem
	if err := json.Unmarshal([]byte(body), &p); err != nil || resp.Header.Get("Content-Type") != "application/problem+json" ||
		p.Status != resp.StatusCode || p.Type != "about:blank" || p.Title == "" || p.Detail == "" {
		t.Errorf("%s: %d is said as %s %q (%v)", name, resp.StatusCode, resp.Header.Get("Content-Type"), body, err)
	}
}

// Without tokens, whoever reaches the listener may do all, and is recorded as
// what is known of them.
func TestWithoutTokens(t *testing.T) {
	t.Parallel()
	w := newWorld(t, Settings{Listen: "127.0.0.1:0"})
	if resp, body := w.do("POST", "/api/v1/endpoints/billing/pause", "", ""); resp.StatusCode != http.StatusOK {
		t.Fatalf("%d %s", resp.StatusCode, body)
	}
	if r := w.records()[0]; r.Actor.Name != "anonymous" || r.Actor.Authenticated || r.Actor.Host != "127.0.0.1" || r.Via != audit.ViaAPI {
		t.Errorf("recorded %+v", r)
	}
}
