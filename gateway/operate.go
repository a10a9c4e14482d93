package gateway

import (
	"context"
	"os"

	"fanjet/admin"
	"fanjet/config"
	"fanjet/internal/audit"
	"fanjet/internal/broker"
	"fanjet/internal/control"
	"fanjet/subscriber/endpoint"

	"github.com/nats-io/nats.go/jetstream"
	"go.uber.org/zap"
)

// operate lets the API of the admin listener act on the installation, until ctx
// ends.
func (g *Gateway) operate(ctx context.Context, js jetstream.JetStream, state jetstream.KeyValue) {
	log := audit.New(js, g.names)
	g.audit.Store(log)
	operator := control.NewOperator(control.Options{
		JetStream: js, Names: g.names, State: state, Recorded: g.admin.Recorded,
		Endpoints: func() []endpoint.Settings { return g.reloading.config().Endpoints },
	})
	var letters *control.Letters
	err := broker.Wait(ctx, g.log, "the dead letters", broker.Transient, func(ctx context.Context) (err error) {
		letters, err = control.OpenLetters(ctx, operator)
		return err
	})
	if err != nil {
		if ctx.Err() == nil {
			g.log.Error("the API cannot act on this installation", zap.Error(err))
		}
		return
	}
	g.admin.Attach(&admin.Installation{Endpoints: operator, Letters: letters, Audit: log})
	<-ctx.Done()
	g.admin.Attach(nil)
}

// recordPause records that an endpoint was paused without an operator.
func (g *Gateway) recordPause(ctx context.Context, endpoint string, p endpoint.Pause) {
	g.record(ctx, p.By, audit.Record{Action: audit.Pause, Target: endpoint, Reason: p.Reason, Result: audit.OK})
}

// RecordReload records what became of a new version of the configuration, which
// the gateway was told of by Reload or ReloadFailed; cause is who wanted it in
// force, such as SIGHUP.
func (g *Gateway) RecordReload(ctx context.Context, cause string, changes config.Changes, err error) {
	r := audit.Record{Action: audit.Reload, Result: audit.OK, Detail: summary(changes)}
	if err != nil {
		r.Result, r.Detail = audit.Refused, whyRefused(err)
	}
	g.record(ctx, cause, r)
}

func (g *Gateway) record(ctx context.Context, name string, r audit.Record) {
	log := g.audit.Load()
	if log == nil {
		return // it has not started yet
	}
	host, _ := os.Hostname() // only for people
	g.admin.Recorded(log.Write(ctx, audit.Actor{Via: audit.ViaGateway, Name: name, Host: host}, r))
}
