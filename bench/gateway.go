package main

import (
	"context"
	"fmt"
	"os"
	"runtime/pprof"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"

	"fanjet/config"
	"fanjet/gateway"
)

// startGateway is the child that is a gateway, as `fanjet serve` runs it, but
// for the logs.
func startGateway(j job) (work, error) {
	began, cpu := time.Now(), cpuSeconds()
	cfg, err := config.Load(j.Config, config.Options{})
	if err != nil {
		return work{}, err
	}
	loading, loadCPU := time.Since(began), cpuSeconds()-cpu
	began = time.Now()
	registry := prometheus.NewRegistry()
	registry.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	gw, err := gateway.New(gateway.Options{Config: cfg, Registry: registry, Grace: 5 * time.Second})
	if err != nil {
		return work{}, err
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- gw.Run(ctx) }()
	select {
	case <-gw.Started():
	case err := <-ended:
		cancel()
		return work{}, fmt.Errorf("the gateway did not start: %w", err)
	}
	started := time.Now()
	stopProfile, err := startProfile(j.Profile)
	if err != nil {
		cancel()
		return work{}, err
	}
	return work{
		hello: hello{
			URL: gw.NATSURL(), Admin: gw.AdminAddr(), Began: started.UnixNano(),
			Loading: loading, LoadCPU: loadCPU, Start: started.Sub(began),
		},
		stop: func() error {
			stopProfile()
			cancel()
			return <-ended
		},
	}, nil
}

// startProfile writes a CPU profile until it is told to stop.
func startProfile(path string) (stop func(), err error) {
	if path == "" {
		return func() {}, nil
	}
	file, err := os.Create(path)
	if err != nil {
		return nil, err
	}
	if err := pprof.StartCPUProfile(file); err != nil {
		return nil, err
	}
	return func() {
		pprof.StopCPUProfile()
		_ = file.Close()
	}, nil
}
