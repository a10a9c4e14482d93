package main

import (
	"context"
	"time"
)

// figures are what one drain found.
type figures struct {
	PerSecond float64 `json:"per_second"`           // deliveries to healthy endpoints
	CPUPer10k float64 `json:"cpu_per_10k"`          // CPU seconds for 10,000 deliveries, with the NATS server
	SinkCPU   float64 `json:"sink_cpu"`             // the same of the receiver, which shares the machine
	Diverted  int     `json:"diverted"`             // deliveries that went through a lane of their endpoint
	PeakRSS   int64   `json:"peak_rss"`             // bytes, of the largest process that delivers
	ServerRSS int64   `json:"server_rss,omitempty"` // bytes, of a separate NATS server
	faults
}

// drain measures how long a preloaded stream takes: from the moment that the
// first process is at work to the last arrival at a healthy endpoint.
func drain(ctx context.Context, kind string, s setup, p plan) (figures, error) {
	w, err := open(ctx, kind, s, p)
	if err != nil {
		return figures{}, err
	}
	defer w.close()
	events := published(s.Events, p.Subjects)
	want, sick := 0, false
	for j, endpoints := range p.healthy() {
		want += endpoints * events[j]
	}
	for _, t := range p.Targets {
		sick = sick || t.Behaves != behaveOK
	}
	if err := w.arrived(ctx, want); err != nil {
		return figures{}, err
	}
	var f figures
	got, err := w.report(ctx)
	if err != nil {
		return f, err
	}
	if f.faults = audit(p, events, got); f.Missing == 0 && !sick {
		settle, cancel := context.WithTimeout(ctx, 30*time.Second)
		err = w.settled(settle)
		cancel()
		if err != nil {
			return f, err
		}
		if got, err = w.report(ctx); err != nil { // a repetition may have come late
			return f, err
		}
		f.faults = audit(p, events, got)
	}
	last := int64(0)
	for _, t := range p.Targets {
		if t.Behaves == behaveOK {
			last = max(last, got[t.Name].Last)
		}
	}
	f.PerSecond = float64(want-f.Missing) / time.Unix(0, last).Sub(w.began).Seconds()
	if f.Diverted, err = w.diverted(ctx); err != nil {
		return f, err
	}
	for _, r := range w.runners {
		_, peak := memory(r.pid)
		f.PeakRSS = max(f.PeakRSS, peak)
	}
	if w.server != nil {
		_, f.ServerRSS = memory(w.server.pid)
	}
	cpu, sinkCPU, err := w.finish()
	f.CPUPer10k, f.SinkCPU = cpu/float64(want)*1e4, sinkCPU/float64(want)*1e4
	return f, err
}

// inTurn makes the two measurements of the i-th pair: in one order, then in the
// other, so that a machine that gets slower or faster favours none.
func inTurn(i int, one, other func() error) error {
	if i%2 == 1 {
		one, other = other, one
	}
	if err := one(); err != nil {
		return err
	}
	return other()
}
