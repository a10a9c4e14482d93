package main

import (
	"net"
	"net/url"
	"sync"
	"time"

	"go.uber.org/zap"

	"fanjet/config"
	"fanjet/gateway"
	"fanjet/internal/runfile"
)

// whereabouts leaves on this machine where a gateway is while it runs, so that
// commands find it whatever becomes of its configuration file.
// Its methods may be called concurrently.
type whereabouts struct {
	log *zap.Logger

	mu     sync.Mutex
	file   *runfile.File // nil: no folder takes it
	record runfile.Record
}

// leaveWhereabouts leaves them for a gateway that is about to run. Remove them at the
// end.
func leaveWhereabouts(path string, cfg *config.Config, gw *gateway.Gateway, log *zap.Logger) *whereabouts {
	w := &whereabouts{log: log, record: runfile.Record{
		Started: time.Now().UTC(), NATS: natsRecord(cfg.NATS),
		Admin: runfile.Admin{Address: gw.AdminAddr(), Cert: absolute(cfg.Admin.TLS.Cert)},
	}}
	file, err := runfile.Write(path, runfile.Folders(), w.record)
	if err != nil { // a file system that cannot be written to is no fault
		log.Info("commands on this machine find this gateway by its configuration file only", zap.Error(err))
		return w
	}
	w.file = file
	return w
}

// update tells of what has changed: the embedded server has begun to listen, or
// another certificate is in force.
func (w *whereabouts) update(gw *gateway.Gateway) {
	w.mu.Lock()
	defer w.mu.Unlock()
	next := w.record
	next.Admin.Cert = absolute(gw.AdminCertificate())
	select {
	case <-gw.Started():
		if u, err := url.Parse(gw.NATSURL()); err == nil && next.NATS.URL == "" && u.Port() != "" {
			if host, _, err := net.SplitHostPort(next.NATS.Listen); err == nil {
				next.NATS.Listen = net.JoinHostPort(host, u.Port())
			}
		}
	default:
	}
	if w.file == nil || next == w.record {
		return
	}
	if err := w.file.Update(next); err != nil {
		w.log.Warn("commands on this machine may not find this gateway", zap.Error(err))
		return
	}
	w.record = next
}

// remove takes them away.
func (w *whereabouts) remove() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.file != nil {
		w.file.Remove()
	}
}
