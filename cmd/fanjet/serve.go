package main

import (
	"context"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/spf13/cobra"
	"go.uber.org/zap"

	"fanjet/config"
	"fanjet/gateway"
)

func newServeCommand(g *globals) *cobra.Command {
	var grace time.Duration
	cmd := &cobra.Command{
		Use:   "serve",
		Short: "Run the gateway",
		Long: `Run the gateway: take events from NATS, match them, and deliver them to the
endpoints of the configuration. Without nats.url the NATS server runs in the same
process, and any NATS client on this machine can publish to it.

Endpoints, subscriptions and the egress policy can be changed while it runs: a
file of the configuration that has changed is loaded within some seconds, and at
once with SIGHUP. A configuration with a mistake changes nothing.

SIGTERM or an interrupt stops it in order: it takes nothing more, lets the
attempts in flight end, makes sure that their outcome is stored, and ends with 0.
An attempt that has to be cut off counts as not made. A second signal ends it at
once; nothing is lost then either, but deliveries may come twice.`,
		Annotations: map[string]string{reloadsOnHangup: "true"},
		Example: `  fanjet serve
  fanjet serve --config prod.yaml --log-format json`,
	}
	cmd.Flags().DurationVar(&grace, "grace", 30*time.Second, "how long attempts in flight may go on after a signal")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		signals, ignore := hangups()
		defer ignore()
		watcher := config.NewWatcher(g.config, config.Options{NATS: g.nats, DataDir: g.dataDir})
		cfg, err := watcher.Load()
		if err != nil {
			return err
		}
		log := g.logger()
		defer func() { _ = log.Sync() }()
		for _, w := range cfg.Warnings {
			log.Warn("configuration", zap.String("at", w.String()))
		}
		gw, err := gateway.New(gateway.Options{
			Config: cfg, Version: currentBuild().Version, Log: log, Registry: newRegistry(), Grace: grace,
		})
		if err != nil {
			return err
		}
		where := leaveWhereabouts(g.config, cfg, gw, log)
		defer where.remove()
		following, stopFollowing := context.WithCancel(cmd.Context())
		var background sync.WaitGroup
		background.Go(func() { follow(following, watcher, signals, gw, where) })
		err = gw.Run(cmd.Context())
		stopFollowing()
		background.Wait()
		if err != nil {
			return err
		}
		log.Info("stopped")
		return nil
	}
	return cmd
}

// newRegistry returns a metrics registry that knows the process and the build.
func newRegistry() *prometheus.Registry {
	reg := prometheus.NewRegistry()
	build := currentBuild()
	info := prometheus.NewGauge(prometheus.GaugeOpts{
		Name: "fanjet_build_info", Help: "Always 1; the labels name the build.",
		ConstLabels: prometheus.Labels{"version": build.Version, "commit": build.Commit},
	})
	info.Set(1)
	reg.MustRegister(info, collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return reg
}
