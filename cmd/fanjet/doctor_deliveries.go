package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"fanjet/gateway"
	"fanjet/internal/control"
	"fanjet/subscriber/endpoint"
)

const (
	// oldDelivery is from how old a delivery is worth a look that waits for a healthy
	// endpoint.
	oldDelivery = 5 * time.Minute
	// mostNamed is how many endpoints of one kind are listed.
	mostNamed = 20
)

// deliveries looks at how endpoints do, and at what waits and what was given up.
func (x *natsExamination) deliveries(ctx context.Context, d *diagnosis) {
	var views []control.EndpointView
	err := x.watching(ctx, func(ctx context.Context) (err error) {
		operator := control.NewOperator(control.Options{
			JetStream: x.js, Names: x.names, Endpoints: func() []endpoint.Settings { return x.cfg.Endpoints },
		})
		views, err = operator.Endpoints(ctx)
		return err
	}, x.names.ControlEndpointsSubject(), "."+x.names.LanesStream()+".", "."+x.names.RetriesStream()+".", "."+x.names.DeadLettersStream()+".", ".KV_"+x.names.StateBucket()+".")
	if err != nil && !errors.Is(err, control.ErrNoGateway) {
		d.warn("deliveries", "", "", "were not looked at: %v", err)
		return
	}
	reportDeliveries(d, views, time.Now(), err == nil)
}

// reportDeliveries judges endpoints; without an answer of gateways, only by what NATS
// holds.
func reportDeliveries(d *diagnosis, views []control.EndpointView, now time.Time, answered bool) {
	before, named := len(d.Checks), make(map[endpoint.State]int)
	var more []string
	var dead uint64
	var deadOf []string
	for i := range views {
		v := &views[i]
		if dead += v.DeadLetters; v.DeadLetters > 0 {
			deadOf = append(deadOf, v.Endpoint)
		}
		level, what, fix := judge(v, now, answered)
		if what == "" {
			continue
		}
		if named[v.State]++; named[v.State] > mostNamed {
			continue
		}
		d.add("deliveries", v.Endpoint, level, fix, "%s", what)
	}
	for _, state := range control.StatesByTrouble() {
		if n := named[state] - mostNamed; n > 0 {
			more = append(more, fmt.Sprintf("%d that are %s", n, state))
		}
	}
	if len(more) > 0 {
		d.warn("deliveries", "", "`fanjet endpoints list` shows all", "there are more endpoints like these: %s", strings.Join(more, ", "))
	}
	if len(d.Checks) == before && answered {
		d.ok("deliveries", "", "%s healthy, and none waits for long", counted(len(views), "endpoint"))
	}
	if dead > 0 {
		d.warn("dead letters", someNames(deadOf), "see why with `fanjet dlq stats`; then replay, drain or purge them", "%d of their deliveries were given up", dead)
	} else {
		d.ok("dead letters", "", "none")
	}
}

// judge says what is wrong with an endpoint; nothing, if it does as it should.
func judge(v *control.EndpointView, now time.Time, answered bool) (level gateway.Level, what, fix string) {
	waits := ""
	if n := v.Waits() + v.Retries; n > 0 {
		waits = fmt.Sprintf("; %d deliveries wait", n)
		if n == 1 {
			waits = "; 1 delivery waits"
		}
		if !v.Oldest.IsZero() {
			waits += ", the oldest for " + ago(now, v.Oldest)
		}
	}
	since := ""
	if !v.Since.IsZero() {
		since = " for " + ago(now, v.Since)
	}
	text := fmt.Sprintf("is %s%s (%s)%s", v.State, since, v.Reason, waits)
	text = strings.ReplaceAll(text, " ()", "")
	old := !v.Oldest.IsZero() && now.Sub(v.Oldest) > oldDelivery
	switch v.State {
	case endpoint.StateOpen, endpoint.StateRefusing:
		return gateway.LevelProblem, text, "see with `fanjet endpoints show` what it answers, and tell whoever runs it"
	case endpoint.StatePaused:
		if v.Pause != nil && v.Pause.By == "fanjet" {
			return gateway.LevelProblem, text, "correct what is the reason, then `fanjet endpoints resume`"
		}
		return gateway.LevelWarning, text, "`fanjet endpoints resume` lets them go"
	case control.StateRemoved:
		return gateway.LevelWarning, text, "declare it again before they become dead letters, if it is to get them"
	case control.StateUnknown:
		if answered {
			return gateway.LevelProblem, text, "reload or restart the gateways with this configuration"
		}
	case endpoint.StateHealthy, endpoint.StateSlow, endpoint.StateLimited, endpoint.StateHalfOpen, endpoint.StateBackingOff:
		if v.State != endpoint.StateHealthy {
			return gateway.LevelWarning, text, ""
		}
	}
	if old && slices.Contains([]endpoint.State{endpoint.StateHealthy, control.StateUnknown}, v.State) {
		return gateway.LevelWarning, "is behind" + strings.Replace(waits, ";", ":", 1), "see whether a gateway runs, and how fast the receiver answers"
	}
	return "", "", ""
}
