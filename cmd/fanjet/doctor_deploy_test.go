package main

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"fanjet/gateway"
)

// examineAs runs doctor as a role of deploy/nats and returns what it found.
func (d *deployment) examineAs(who, rest string, flags ...string) diagnosis {
	d.Helper()
	got := runFanjet(d.T, append([]string{"doctor", "-o", "json", "--config", d.config(who, rest)}, flags...)...)
	var found diagnosis
	if err := json.Unmarshal([]byte(got.out), &found); err != nil {
		d.Fatalf("%s: %d, %s, %v", who, got.code, got.err, err)
	}
	return found
}

// says reports whether a check has a status and a text.
func (d *diagnosis) says(check string, status gateway.Level, text string) bool {
	for _, c := range d.Checks {
		if c.Check == check && c.Status == status && strings.Contains(c.Subject+": "+c.Message, text) {
			return true
		}
	}
	return false
}

// doctor works as each role of deploy/nats: the server refuses it nothing, there is no
// problem while there is none, and the rights of the role that it is told are judged.
func TestDoctorAsEachRole(t *testing.T) {
	t.Parallel()
	d := newDeployment(t)
	hook := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	t.Cleanup(hook.Close)
	secret := strings.TrimSpace(d.fanjet(0, "secret", "new"))
	rest := `
egress: {allow_http: true, allow_cidrs: ["127.0.0.0/8"]}
canary: {subject: events.fanjet.canary, every: 1s}
endpoints: {one: {url: "` + hook.URL + `", secrets: ["` + secret + `"]}}
subscriptions: [{name: all, subjects: ["events.>"], endpoints: [one]}]
`
	p := newGatewayProcess(t, "", "")
	p.config = d.config("gateway", rest)
	p.start()
	d.log.violations()
	for _, who := range roleWords() {
		found := d.examineAs(who, rest)
		if found.Problems > 0 || !found.says("nats", gateway.LevelOK, "permissions: limited, and what "+func() string { r := role(who); return r.withArticle() }()+" needs") {
			t.Errorf("as %s: %+v", who, found.Checks)
		}
		if who != "producer" {
			for _, want := range []string{"stream FANJET_AUDIT: ", "consumer fanjet-match of the stream EVENTS: ", "consumer fanjet-due of the stream FANJET_RETRIES: "} {
				if !found.says("streams", gateway.LevelOK, want) {
					t.Errorf("as %s nothing is said of %s", who, want)
				}
			}
			if !found.says("clocks", gateway.LevelOK, "NATS server") || !found.says("gateways", gateway.LevelOK, "started") || !found.says("dead letters", gateway.LevelOK, "none") {
				t.Errorf("as %s: %+v", who, found.Checks)
			}
		}
		if refused := d.log.violations(); len(refused) > 0 && who != "gateway" && who != "producer" {
			t.Errorf("as %s: %s", who, strings.Join(refused, "\n"))
		}
	}
	// Whom it is told: an operator is no gateway, and a viewer no operator.
	for who, test := range map[string]struct{ as, lacks string }{
		"operator": {"gateway", "publish to $JS.ACK.FANJET_DELIVERIES"},
		"viewer":   {"operator", "publish to fanjet.ctl.ping.x"},
		"producer": {"viewer", "publish to fanjet.ctl.endpoints"},
	} {
		if found := d.examineAs(who, rest, "--role", test.as); !found.says("nats", gateway.LevelProblem, test.lacks) {
			t.Errorf("%s as %s: %+v", who, test.as, found.Checks)
		}
	}
	// The commands of an operator work as the gateway's user, too.
	d.fanjet(0, "endpoints", "list", "--config", d.config("gateway", rest))
	d.fanjet(0, "dlq", "list", "--config", d.config("gateway", rest))
}

// A gateway whose rights are too few for direct delivery is told what it lacks.
func TestDoctorNamesRightsOfDirectDelivery(t *testing.T) {
	t.Parallel()
	d := newDeployment(t,
		`"fanjet.>", "$KV.fanjet-state.>"`, `"fanjet.>", "$KV.fanjet-state.cursor.>"`,
		`"$JS.API.STREAM.*.FANJET_RETRIES", "$JS.API.STREAM.MSG.*.FANJET_RETRIES"`, `"$JS.API.STREAM.*.FANJET_RETRIES"`)
	found := d.examineAs("gateway", "")
	for _, subject := range []string{
		"$KV.fanjet-state.direct.x", "$JS.API.STREAM.MSG.GET.FANJET_RETRIES", "$JS.API.STREAM.MSG.DELETE.FANJET_RETRIES",
	} {
		if !found.says("nats", gateway.LevelProblem, "publish to "+subject) {
			t.Errorf("nothing is said of %s: %+v", subject, found.Checks)
		}
	}
}

// A right that NATS refuses is named at once, and all that can be looked at is.
func TestRefusedRights(t *testing.T) {
	t.Parallel()
	d := newDeployment(t,
		`"$JS.API.STREAM.INFO.FANJET_DLQ", "$JS.API.DIRECT.GET.FANJET_DLQ"`, `"$JS.API.DIRECT.GET.FANJET_DLQ"`,
		`"fanjet.ctl.endpoints", "fanjet.ctl.ping.*"`, `"fanjet.ctl.ping.*"`,
		`"$JS.API.CONSUMER.INFO.FANJET_RETRIES.fanjet-due"`, `"x"`)
	p := newGatewayProcess(t, "", "")
	p.config = d.config("gateway", "")
	p.start()
	for _, test := range []struct {
		role, refused string
		args          []string
	}{
		{"viewer", "publish to $JS.API.STREAM.INFO.FANJET_DLQ", []string{"dlq", "list"}},
		{"operator", "publish to fanjet.ctl.endpoints", []string{"endpoints", "list"}},
		{"viewer", "publish to fanjet.ctl.ping.one", []string{"endpoints", "ping", "one"}},
		{"viewer", "publish to $KV.fanjet-state.paused.one", []string{"endpoints", "pause", "one"}},
		{"operator", "publish to events.x", []string{"publish", "events.x", "--data", "{}"}},
		{"viewer", "publish to events.x", []string{"publish", "events.x", "--data", "{}"}},
		{"producer", "publish to", []string{"dlq", "list"}},
		{"producer", "publish to", []string{"audit", "list"}},
	} {
		config := d.config(test.role, "endpoints: {one: {url: \"https://one.example.com\", secrets: [\""+crashSecret+"\"]}}\n")
		got := runFanjet(t, append(test.args, "--config", config)...)
		if got.code != exitFailure || !strings.Contains(got.err, "NATS does not allow this user to "+test.refused) || strings.Contains(got.err, "deadline") || strings.Contains(got.err, "timeout") || strings.Contains(got.err, "no acknowledgement within") ||
			strings.Contains(got.err, "canceled") || strings.Count(got.err, "to "+strings.TrimPrefix(test.refused, "publish to ")+": ") > 1 {
			t.Errorf("%s: fanjet %s: %+v", test.role, strings.Join(test.args, " "), got)
		}
	}
	found := d.examineAs("viewer", "")
	if !found.says("nats", gateway.LevelProblem, "STREAM.INFO.FANJET_DLQ") || !found.says("streams", gateway.LevelWarning, "FANJET_RETRIES.fanjet-due") || !found.says("streams", gateway.LevelOK, "FANJET_AUDIT") {
		t.Errorf("doctor: %+v", found.Checks)
	}
}
