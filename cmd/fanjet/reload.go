package main

import (
	"context"
	"os"
	"os/signal"
	"runtime/debug"
	"sync"
	"syscall"

	"fanjet/config"
	"fanjet/gateway"
)

// hangups returns where SIGHUP arrives from now on. It ends the process no more
// until stop is called.
func hangups() (signals <-chan os.Signal, stop func()) {
	arrived := make(chan os.Signal, 1)
	signal.Notify(arrived, syscall.SIGHUP)
	return arrived, func() { signal.Stop(arrived) }
}

// follow puts new versions of the configuration into force until ctx ends: those
// that the watcher finds, and with each signal what is there at the time.
func follow(ctx context.Context, watcher *config.Watcher, signals <-chan os.Signal, gw *gateway.Gateway, where *whereabouts) {
	var watching sync.WaitGroup
	defer watching.Wait()
	watching.Go(func() {
		watcher.Run(ctx, func(cfg *config.Config, err error) {
			var changes config.Changes
			if err != nil {
				gw.ReloadFailed(err)
			} else {
				changes, err = gw.Reload(cfg) // the gateway itself logs what came of it
			}
			where.update(gw)
			releaseMemory()
			cause := "file"
			if watcher.Asked() {
				cause = "SIGHUP"
			}
			gw.RecordReload(ctx, cause, changes, err)
		})
	})
	started := gw.Started()
	for {
		select {
		case <-ctx.Done():
			return
		case <-started:
			started = nil // once
			where.update(gw)
			releaseMemory()
		case <-signals:
			watcher.Reload()
		}
	}
}

// releaseMemory gives back what loading a configuration took: for thousands of
// endpoints some hundred MiB, which the runtime of Go would keep for long in a
// process that has little to do.
func releaseMemory() { debug.FreeOSMemory() }
