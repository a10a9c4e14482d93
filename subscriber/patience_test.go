package subscriber

import (
	"testing"
	"time"
)

func TestPatience(t *testing.T) {
	t.Parallel()
	const ms = time.Millisecond
	just, longAgo := noon.Add(-10*ms), noon.Add(-time.Minute)
	fine := standing{wait: 1 * ms, latency: 0.005, success: just}
	for name, test := range map[string]struct {
		s        standing
		others   []standing
		meanWait time.Duration
		starved  time.Time
		want     bool
	}{
		"keeps up":                        {s: fine, others: []standing{fine}},
		"a moment":                        {s: standing{wait: maxWait}, others: []standing{fine}},
		"waits longer than the others":    {s: standing{wait: maxWait + 1, success: just}, others: []standing{fine}, meanWait: 50 * ms, want: true},
		"all wait as long":                {s: standing{wait: maxWait + 1, success: just}, others: []standing{fine}, meanWait: 200 * ms},
		"all wait as long, for too long":  {s: standing{wait: longestWait + 1, success: just}, others: []standing{fine}, meanWait: 3 * time.Second, want: true},
		"slower than the others":          {s: standing{wait: maxWait + 1, latency: 0.3}, others: []standing{fine, fine}, meanWait: 200 * ms, want: true},
		"slower, but not slow":            {s: standing{wait: maxWait + 1, latency: 0.02}, others: []standing{fine, fine}, meanWait: 200 * ms},
		"as slow as the others":           {s: standing{wait: maxWait + 1, latency: 0.3}, others: []standing{{latency: 0.25}, {latency: 0.35}}, meanWait: 200 * ms},
		"harms nobody":                    {s: standing{wait: longestWait}, meanWait: 1 * ms},
		"harms those that will come":      {s: standing{wait: longestWait + 1}, meanWait: 1 * ms, want: true},
		"the machine is slow":             {s: standing{wait: longestWait, latency: 0.3}, others: []standing{fine, fine}, starved: just},
		"the machine is slow, it gets on": {s: standing{wait: slowMachineWait, success: just}, others: []standing{fine}, starved: just},
		"nor does it get on":              {s: standing{wait: longestWait + 1, success: longAgo}, others: []standing{fine}, starved: just, want: true},
		"it was slow for long":            {s: standing{wait: slowMachineWait + 1, success: just}, others: []standing{fine}, starved: just, want: true},
		"the machine was slow":            {s: standing{wait: maxWait + 1, success: just}, others: []standing{fine}, starved: longAgo, want: true},
	} {
		f := &fastLane{starved: test.starved, meanWait: test.meanWait.Seconds()}
		p := f.newPatience(noon, append(test.others, test.s))
		if got := p.exhausted(&test.s); got != test.want {
			t.Errorf("%s: %v", name, got)
		}
	}
}
