package main

import (
	"testing"
	"time"

	"fanjet/gateway"
	"fanjet/internal/control"
)

// What a gateway says about itself, and that another one says nothing, is no "ok".
func TestReportGateways(t *testing.T) {
	t.Parallel()
	version := currentBuild().Version
	well := control.Report{Replica: control.Replica{ID: "k3v7q2ma", Host: "node-1", Version: version}}
	type said struct {
		check string
		level gateway.Level
		text  string
	}
	for name, test := range map[string]struct {
		change func(*control.Report)
		silent []control.Peer
		want   said
	}{
		"well":         {func(*control.Report) {}, nil, said{"gateways", gateway.LevelOK, "node-1 (k3v7q2ma): version " + version}},
		"not ready":    {func(r *control.Report) { r.NotReady = "nats: gone\nstorage: full" }, nil, said{"gateways", gateway.LevelProblem, "is not ready: nats: gone; storage: full"}},
		"refused":      {func(r *control.Report) { r.ConfigRefused = "fanjet.yaml:3:1: egres" }, nil, said{"gateways", gateway.LevelProblem, "goes on with an earlier configuration, and could not start with the file as it is: fanjet.yaml:3:1: egres"}},
		"one missed":   {func(r *control.Report) { r.EventsMissed = 1 }, nil, said{"events", gateway.LevelProblem, "1 event left a source before"}},
		"many missed":  {func(r *control.Report) { r.EventsMissed = 1234 }, nil, said{"events", gateway.LevelProblem, "events left a source before"}},
		"overdue":      {func(r *control.Report) { r.RetryOverdue = 90 }, nil, said{"retries", gateway.LevelProblem, "one is overdue for 1m30s"}},
		"other clock":  {func(r *control.Report) { r.Ahead = -2 * time.Minute }, nil, said{"clocks", gateway.LevelProblem, "gateway on node-1 (k3v7q2ma)"}},
		"not the same": {func(r *control.Report) { r.Version = "v0" }, nil, said{"gateways", gateway.LevelWarning, "version v0, and this program is " + version}},
		"silent":       {func(*control.Report) {}, []control.Peer{{ID: "x", Host: "node-2"}}, said{"gateways", gateway.LevelProblem, "node-2 (x): lives and does not answer: 1 of 2 did"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r, d := well, &diagnosis{}
			test.change(&r)
			reportGateways(d, []control.Report{r}, control.Gateways{Known: 1 + len(test.silent), Answered: 1, Silent: test.silent})
			bad := 0
			if test.want.level == gateway.LevelProblem {
				bad = 1
			}
			if !d.says(test.want.check, test.want.level, test.want.text) || d.Problems != bad {
				t.Errorf("want %v, have %+v", test.want, d.Checks)
			}
		})
	}
}
