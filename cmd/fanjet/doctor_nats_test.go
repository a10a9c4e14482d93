package main

import (
	"strings"
	"testing"

	"fanjet/gateway"
	"fanjet/internal/control"
)

// doctor says what a gateway knows about itself.
func TestDoctorReportsGateways(t *testing.T) {
	t.Parallel()
	version := currentBuild().Version
	for name, test := range map[string]struct {
		replica control.Replica
		level   gateway.Level
		says    string
	}{
		"well":      {control.Replica{Version: version}, gateway.LevelOK, "started"},
		"old":       {control.Replica{Version: "v0"}, gateway.LevelWarning, "version v0"},
		"not ready": {control.Replica{Version: version, NotReady: "nats store: full\nretries: late"}, gateway.LevelProblem, "nats store: full; retries: late"},
		"late":      {control.Replica{Version: version, RetryOverdue: 90}, gateway.LevelProblem, "one is overdue for 1m30s"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			d := &diagnosis{}
			reportGateway(d, &control.Report{Replica: test.replica})
			for _, c := range d.Checks {
				if c.Status == test.level && strings.Contains(c.Message, test.says) {
					return
				}
			}
			t.Errorf("it does not say %q as %s: %+v", test.says, test.level, d.Checks)
		})
	}
}
