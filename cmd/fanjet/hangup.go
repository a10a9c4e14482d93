package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"
)

// reloadsOnHangup is the annotation of a command to which SIGHUP means something
// else than the end.
const reloadsOnHangup = "fanjet_reloads_on_hangup"

// endOnHangup lets SIGHUP, which comes when a terminal is closed, end what cmd and
// all commands below it do as an interrupt does: in order, and with what was done
// so far. A second one ends the process at once. Where it is ignored, as below
// nohup, it stays ignored.
func endOnHangup(cmd *cobra.Command, end context.CancelFunc) {
	if do := cmd.RunE; do != nil && cmd.Annotations[reloadsOnHangup] == "" {
		cmd.RunE = func(cmd *cobra.Command, args []string) error {
			if signal.Ignored(syscall.SIGHUP) {
				return do(cmd, args)
			}
			arrived, ignore := hangups()
			defer ignore()
			done := make(chan struct{})
			defer close(done)
			go endWith(arrived, done, ignore, end)
			return do(cmd, args)
		}
	}
	for _, sub := range cmd.Commands() {
		endOnHangup(sub, end)
	}
}

// endWith calls end with the first signal, from which on signals do what they do by
// default.
func endWith(arrived <-chan os.Signal, done <-chan struct{}, ignore func(), end context.CancelFunc) {
	select {
	case <-arrived:
		ignore()
		end()
	case <-done:
	}
}
