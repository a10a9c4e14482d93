package admin

import (
	"encoding/json"
	"net/http"
	"reflect"
	"strings"
	"testing"

	"fanjet/dlq"
	"fanjet/internal/control"
)

func TestListLetters(t *testing.T) {
	t.Parallel()
	w := newWorld(t, Settings{Listen: "127.0.0.1:0"})
	w.addLetters(5, "billing")
	w.addLetters(1, "crm")
	var seqs []uint64
	path := "/api/v1/dead-letters?endpoint=billing&limit=2"
	for path != "" {
		resp, body := w.do("GET", path, "", "")
		var page []dlq.Letter
		if err := json.Unmarshal([]byte(body), &page); err != nil || len(page) > 2 || strings.Contains(body, "canary") {
			t.Fatalf("%s: %s (%v)", path, body, err)
		}
		for _, l := range page {
			seqs = append(seqs, l.Seq)
		}
		next, _, _ := strings.Cut(strings.TrimPrefix(resp.Header.Get("Link"), "<"), ">")
		path = next
	}
	if len(seqs) != 5 || seqs[0] != 1 || seqs[4] != 5 {
		t.Errorf("the pages have %v", seqs)
	}
	if letters := get[[]dlq.Letter](w, "/api/v1/dead-letters?reason=expired", ""); letters == nil || len(letters) != 0 {
		t.Errorf("a filter that nothing matches: %v", letters)
	}
}

// The event itself is for those who may send it.
func TestBodiesOfLetters(t *testing.T) {
	t.Parallel()
	w := newWorld(t, Settings{Listen: "127.0.0.1:0", Tokens: tokens()})
	w.addLetters(1, "billing")
	if l := get[dlq.Letter](w, "/api/v1/dead-letters/1", tokenOf(ScopeAdmin)); l.Data != nil || l.Headers != nil || l.EventID != "msg_1" {
		t.Errorf("without body=1: %+v", l)
	}
	if l := get[dlq.Letter](w, "/api/v1/dead-letters/1?body=1", tokenOf(ScopeOperate)); string(l.Data) != `{"canary":"payload"}` || l.Headers.Get("X-Event") == "" {
		t.Errorf("with body=1: %+v", l)
	}
	if resp, body := w.do("GET", "/api/v1/dead-letters/1?body=1", tokenOf(ScopeRead), ""); resp.StatusCode != http.StatusForbidden || strings.Contains(body, "canary") {
		t.Errorf("with the scope read: %d %s", resp.StatusCode, body)
	}
	for path, status := range map[string]int{"/api/v1/dead-letters/2": 404, "/api/v1/dead-letters/0": 404, "/api/v1/dead-letters/x": 404, "/api/v1/dead-letters/1?body=maybe": 400} {
		if resp, _ := w.do("GET", path, tokenOf(ScopeAdmin), ""); resp.StatusCode != status {
			t.Errorf("%s: %d, want %d", path, resp.StatusCode, status)
		}
	}
}

func TestReplayAndPurge(t *testing.T) {
	t.Parallel()
	w := newWorld(t, Settings{Listen: "127.0.0.1:0"})
	w.addLetters(3, "billing")
	w.addLetters(2, "crm")
	for _, step := range []struct {
		path, body string
		status     int
		done       int
		left       uint64
	}{
		{"purge", `{}`, 422, 0, 5},
		{"purge", "", 422, 0, 5},
		{"purge", `{"limit": 1}`, 422, 0, 5},
		{"purge", `{"all": true, "endpoint": "crm"}`, 422, 0, 5},
		{"purge", `{"endpoint": "CRM!"}`, 400, 0, 5},
		{"purge", `{"endpiont": "crm"}`, 400, 0, 5},
		{"replay", `{"endpoint": "crm", "rate": -1}`, 400, 0, 5},
		// Given, but empty: the client lost what it meant.
		{"purge", `{"endpoint": ""}`, 422, 0, 5},
		{"purge", `{"endpoint": " ", "reason": "exhausted"}`, 422, 0, 5},
		{"purge", `{"endpoint": null, "reason": "exhausted"}`, 400, 0, 5},
		{"purge", `{"endpoint": "crm", "Endpoint": "billing"}`, 400, 0, 5},
		{"purge", `{"all": true, "id": ""}`, 422, 0, 5},
		{"purge", `{"endpoint": "crm", "since": ""}`, 422, 0, 5},
		{"purge", `{"endpoint": "crm", "until": ""}`, 422, 0, 5},
		{"purge", `{"endpoint": "crm", "until": "0001-01-01T00:00:00Z"}`, 400, 0, 5},
		{"replay", `{"endpoint": "billing", "subject": ""}`, 422, 0, 5},
		{"replay", `{"reason": ""}`, 422, 0, 5},
		{"purge", `{"endpoint": "crm", "limit": 0}`, 422, 0, 5},
		{"purge", `{"endpoint": "crm", "limit": null}`, 400, 0, 5},
		{"purge", `{"endpoint": "crm", "dry_run": null}`, 400, 0, 5},
		// Nobody knows it, or no gateway delivers to it any more.
		{"purge", `{"endpoint": "biling"}`, 404, 0, 5},
		{"replay", `{"endpoint": "biling"}`, 404, 0, 5},
		{"replay", `{"endpoint": "crm"}`, 409, 0, 5},
		{"purge", `{"all": true, "dry_run": true}`, 200, 5, 5},
		{"replay", `{"endpoint": "billing", "dry_run": true}`, 200, 3, 5},
		{"replay", `{"endpoint": "billing", "limit": 2}`, 200, 2, 3},
		{"purge", `{"endpoint": "crm", "since": "1h"}`, 200, 2, 1},
		{"purge", `{"all": true}`, 200, 1, 0},
	} {
		before := len(w.records())
		resp, body := w.do("POST", "/api/v1/dead-letters/"+step.path, "", step.body)
		if resp.StatusCode != step.status {
			t.Errorf("%s %s: %d %s, want %d", step.path, step.body, resp.StatusCode, body, step.status)
			continue
		}
		if left := w.count(names.DeadLettersStream()); left != step.left {
			t.Errorf("%s %s: %d letters are left, want %d", step.path, step.body, left, step.left)
		}
		if step.status != 200 {
			if len(w.records()) != before {
				t.Errorf("%s %s was recorded", step.path, step.body)
			}
			if strings.Contains(body, ":null") {
				t.Errorf("%s %s: a list that is empty is none: %s", step.path, step.body, body)
			}
			continue
		}
		var report control.LettersReport
		if err := json.Unmarshal([]byte(body), &report); err != nil || report.Done != step.done || !report.Complete || report.AuditError != "" {
			t.Errorf("%s %s: %s (%v)", step.path, step.body, body, err)
		}
		records, want := w.records(), 2
		if report.DryRun {
			want = 1
		}
		if len(records)-before != want || records[0].Count != step.done || records[0].DryRun != report.DryRun {
			t.Errorf("%s %s: recorded %+v", step.path, step.body, records[:len(records)-before])
		}
		if want == 2 && (records[0].Operation != records[1].Operation || records[1].Result != "started" || records[0].Result != "ok") {
			t.Errorf("%s %s: recorded %+v", step.path, step.body, records[:2])
		}
	}
	if n := w.count(names.DeliveriesStream()); n != 2 {
		t.Errorf("%d deliveries were made, want 2", n)
	}
}

// A name that is a slip selects nothing, and the answer says what it may be.
func TestUnknownEndpointOfLetters(t *testing.T) {
	t.Parallel()
	w := newWorld(t, Settings{Listen: "127.0.0.1:0"})
	w.addLetters(1, "crm")
	for path, want := range map[string]string{
		"GET /api/v1/dead-letters?endpoint=biling": "did you mean billing?",
		"GET /api/v1/dead-letters?endpoint=crmm":   "did you mean crm?",
		"POST /api/v1/endpoints/biling/pause":      "did you mean billing?",
	} {
		method, path, _ := strings.Cut(path, " ")
		if resp, body := w.do(method, path, "", ""); resp.StatusCode != http.StatusNotFound || !strings.Contains(body, want) {
			t.Errorf("%s: %d %s", path, resp.StatusCode, body)
		}
	}
	if letters := get[[]dlq.Letter](w, "/api/v1/dead-letters?endpoint=crm", ""); len(letters) != 1 {
		t.Errorf("the letters of an endpoint that is removed: %v", letters)
	}
}

// A replay tells which letters wait for their endpoints, and leaves those whose
// endpoint is removed.
func TestReplayThatWaits(t *testing.T) {
	t.Parallel()
	w := newWorld(t, Settings{Listen: "127.0.0.1:0"})
	w.addLetters(2, "billing")
	w.addLetters(3, "crm")
	if resp, body := w.do("POST", "/api/v1/endpoints/billing/pause", "", `{"reason":"their maintenance"}`); resp.StatusCode != 200 {
		t.Fatalf("pause: %d %s", resp.StatusCode, body)
	}
	resp, body := w.do("POST", "/api/v1/dead-letters/replay", "", `{"all": true}`)
	var report control.LettersReport
	if err := json.Unmarshal([]byte(body), &report); err != nil || resp.StatusCode != 200 {
		t.Fatalf("replay: %d %s", resp.StatusCode, body)
	}
	if report.Done != 2 || report.Failed != 3 || !strings.Contains(report.Failures[0].Error, "not in the configuration: crm") {
		t.Errorf("replayed %s", body)
	}
	if len(report.Waiting) != 1 || report.Waiting[0].Endpoint != "billing" || report.Waiting[0].Letters != 2 ||
		report.Waiting[0].State != "paused" || !strings.Contains(report.Waiting[0].Reason, "their maintenance") {
		t.Errorf("waiting are %+v", report.Waiting)
	}
}

// What cannot be recorded: to hold an endpoint goes on and says so, to remove
// letters does not begin.
func TestWithoutRecord(t *testing.T) {
	t.Parallel()
	w := newWorld(t, Settings{Listen: "127.0.0.1:0"})
	w.addLetters(1, "billing")
	if err := w.js.DeleteStream(t.Context(), names.AuditStream()); err != nil {
		t.Fatal(err)
	}
	resp, body := w.do("POST", "/api/v1/endpoints/billing/pause", "", "")
	var paused control.PauseReport
	if err := json.Unmarshal([]byte(body), &paused); err != nil || resp.StatusCode != 200 || !paused.Changed || !strings.Contains(paused.AuditError, "cannot be stored") {
		t.Errorf("pause: %d %s", resp.StatusCode, body)
	}
	for _, path := range []string{"purge", "replay"} {
		resp, body := w.do("POST", "/api/v1/dead-letters/"+path, "", `{"all": true}`)
		if resp.StatusCode != http.StatusServiceUnavailable || !strings.Contains(body, "nothing was done") {
			t.Errorf("%s: %d %s", path, resp.StatusCode, body)
		}
		checkProblem(t, path, resp, body)
	}
	if left := w.count(names.DeadLettersStream()); left != 1 {
		t.Errorf("%d letters are left, want 1", left)
	}
	if w.logs.FilterMessage("what an operator did is not recorded").Len() != 3 {
		t.Error("the log does not say it")
	}
}

func TestEndpointsOfTheAPI(t *testing.T) {
	t.Parallel()
	w := newWorld(t, Settings{Listen: "127.0.0.1:0"})
	if resp, body := w.do("POST", "/api/v1/endpoints/billing/pause", "", `{"reason":"their maintenance"}`); resp.StatusCode != 200 {
		t.Fatalf("pause: %d %s", resp.StatusCode, body)
	}
	view := get[control.EndpointView](w, "/api/v1/endpoints/billing", "")
	if view.State != "paused" || view.Pause.Reason != "their maintenance" || view.Pause.By != "anonymous" || len(view.Replicas) != 1 || strings.Contains(view.Settings.URL, "secret") {
		t.Errorf("%+v, settings %+v", view, view.Settings)
	}
	if list := get[[]control.EndpointView](w, "/api/v1/endpoints", ""); len(list) != 1 || list[0].State != "paused" {
		t.Errorf("list: %+v", list)
	}
	for path, status := range map[string]int{
		"GET /api/v1/endpoints/nobody": 404, "POST /api/v1/endpoints/nobody/pause": 404, "POST /api/v1/endpoints/nobody/ping": 404,
		"GET /api/v1/endpoints/No%20Name": 404, "GET /api/v1/nothing": 404, "GET /api/v2/endpoints": 404,
	} {
		method, path, _ := strings.Cut(path, " ")
		resp, body := w.do(method, path, "", "")
		if resp.StatusCode != status {
			t.Errorf("%s %s: %d %s, want %d", method, path, resp.StatusCode, body, status)
		}
		checkProblem(t, path, resp, body)
	}
	if resp, body := w.do("POST", "/api/v1/endpoints/billing/resume", "", `{"skip_first":true}`); resp.StatusCode != http.StatusConflict {
		t.Errorf("skip without a line that stands: %d %s", resp.StatusCode, body)
	}
}

// The API tells which gateways live and did not answer.
func TestSilentGateways(t *testing.T) {
	t.Parallel()
	w := newWorld(t, Settings{Listen: "127.0.0.1:0"})
	w.answer(names.ControlEndpointsSubject(), func(string) string {
		return `{"replica": {"id": "three"}, "parts": 1, "endpoints": [], "gateways": [{"id": "three", "host": "c"}, {"id": "two", "host": "b"}]}`
	})
	want := control.Gateways{Known: 3, Answered: 2, Silent: []control.Peer{{ID: "two", Host: "b"}}}
	for _, v := range append(get[[]control.EndpointView](w, "/api/v1/endpoints", ""), get[control.EndpointView](w, "/api/v1/endpoints/billing", "")) {
		if v.Endpoint != "billing" || !reflect.DeepEqual(v.Gateways, want) {
			t.Errorf("%s: %+v, want %+v", v.Endpoint, v.Gateways, want)
		}
	}
}
