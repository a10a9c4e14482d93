package main

import (
	"context"
	"errors"
	"io/fs"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"fanjet/config"
	"fanjet/gateway"
	"fanjet/internal/broker"
	"fanjet/internal/control"
	"fanjet/internal/wire"
)

// examineNATS looks at NATS and what is in it, and at the gateways, for a user in a
// role; empty: that which the user has.
func (g *globals) examineNATS(ctx context.Context, d *diagnosis, cfg *config.Config, timeout time.Duration, as role) {
	connectCtx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	names := wire.NewNames(cfg.NATS.Prefix)
	refusals := &broker.Refusals{}
	nc, err := g.connectAs(connectCtx, cfg.NATS, broker.ConnectOptions{Name: "fanjet doctor"}, refusals.Observe,
		names.OperatorInbox(), names.GatewayInbox(), defaultInbox)
	if err != nil {
		fix := "start it, or correct nats.url"
		switch {
		case cfg.NATS.URL != "":
		case errors.Is(err, syscall.ECONNREFUSED), errors.Is(err, nats.ErrNoServers), errors.Is(err, fs.ErrNotExist):
			fix = "start `fanjet serve`, which has the embedded server"
		default:
			fix = "if its key is not that of the server, remove " + filepath.Join(cfg.NATS.Embedded.StoreDir, broker.OperatorKeyName) + " and restart `fanjet serve`, which makes another one"
		}
		d.problem("nats", "", fix, "cannot be reached, so streams, gateways and clocks were not looked at: %v", err)
		return
	}
	defer nc.Close()
	js, err := cfg.NATS.JetStream(nc, jetstream.WithDefaultTimeout(timeout))
	if err != nil {
		d.problem("nats", "", "", "%v", err)
		return
	}
	d.ok("nats", nc.ConnectedServerName(), "version %s, messages of up to %s", nc.ConnectedServerVersion(), bytesText(uint64(nc.MaxPayload())))
	if least := int64(128 << 10); nc.MaxPayload() < least {
		d.warn("nats", nc.ConnectedServerName(), "raise max_payload of the server",
			"events of more than some %s cannot be delivered: each needs up to 32 KiB for its headers", bytesText(uint64(max(0, nc.MaxPayload()-32<<10))))
	}
	x := &natsExamination{nc: nc, js: js, cfg: cfg, names: names, refusals: refusals, timeout: timeout}
	as = x.permissions(ctx, d, as)
	if as == roleProducer {
		d.ok("nats", "role", "a producer may not look at streams, gateways and clocks, so they were not looked at: run this as a viewer, operator or gateway")
		return
	}
	if err := x.watching(ctx, func(ctx context.Context) error { return cfg.NATS.CheckServer(ctx, nc) }, ".API.INFO."); err != nil {
		d.problem("nats", "", "", "%v", err)
		return
	}
	examineDurability(d, cfg)
	x.together(ctx, d, x.account, x.streams, x.clock, x.gateways, x.deliveries)
}

// natsExamination asks NATS and the gateways. Each of its parts writes to a diagnosis
// of its own, so that they can go on beside each other.
type natsExamination struct {
	nc       *nats.Conn
	js       jetstream.JetStream
	cfg      *config.Config
	names    wire.Names
	refusals *broker.Refusals
	timeout  time.Duration
}

// together runs parts at once, and adds what they found in their order.
func (x *natsExamination) together(ctx context.Context, d *diagnosis, parts ...func(context.Context, *diagnosis)) {
	found := make([]diagnosis, len(parts))
	var running sync.WaitGroup
	for i, part := range parts {
		running.Go(func() { part(ctx, &found[i]) })
	}
	running.Wait()
	for i := range found {
		d.join(&found[i])
	}
}

// watching asks something. The error is that of the right that NATS refuses, if it
// is one on subjects that contain a text of about.
func (x *natsExamination) watching(ctx context.Context, ask func(context.Context) error, about ...string) error {
	ctx, cancel := context.WithTimeout(ctx, x.timeout)
	defer cancel()
	for _, text := range about {
		var end func()
		ctx, end = x.refusals.Watch(ctx, text)
		defer end()
	}
	return broker.Cause(ctx, ask(ctx))
}

func (x *natsExamination) account(ctx context.Context, d *diagnosis) {
	if err := x.watching(ctx, func(ctx context.Context) error { return examineAccount(ctx, d, x.js, len(x.cfg.Sources)+2) }, ".API.INFO."); err != nil {
		d.problem("nats", "account", "", "its limits cannot be read: %v", err)
	}
}

func (x *natsExamination) streams(ctx context.Context, d *diagnosis) {
	watch := func(ctx context.Context, stream string) (context.Context, func()) {
		ctx, cancel := context.WithTimeout(ctx, x.timeout)
		ctx, end := x.refusals.Watch(ctx, "."+stream+".")
		return ctx, func() { end(); cancel() }
	}
	for _, f := range gateway.Examine(ctx, x.js, x.cfg, watch) {
		d.add("streams", f.Object, f.Level, f.Fix, "%s", f.What)
	}
}

// examineDurability says what a power cut may cost.
func examineDurability(d *diagnosis, cfg *config.Config) {
	const subject = "durability"
	switch s := cfg.NATS; {
	case s.URL == "" && s.Embedded.SyncInterval == 0:
		d.ok("nats", subject, "every write is synced to the disk before it is acknowledged")
	case s.URL == "":
		d.ok("nats", subject, "a power cut may lose the last %v of what was acknowledged; a crash of the process loses nothing", s.Embedded.SyncInterval)
	case s.Replicas <= 1:
		d.warn("nats", subject, "use a cluster with nats.replicas: 3; or set sync_interval: always in the server's jetstream block",
			"Fanjet's streams have one copy, and clients are not told when the server syncs its disk: by default every two minutes, so that a power cut may lose as much")
	default:
		d.ok("nats", subject, "%d copies of each stream; clients are not told when the servers sync their disks, by default every two minutes", s.Replicas)
	}
}

// Differences between clocks from which on somebody should hear of it:
// receivers allow for five minutes.
const (
	clocksDiffer   = 5 * time.Second
	clocksMislead  = time.Minute
	clockFix       = "let NTP set the clocks of all machines"
	clockExplained = "receivers refuse webhooks whose time is minutes off"
)

// clock compares the clock of this machine with that of the server, by an answer that
// has its time.
func (x *natsExamination) clock(ctx context.Context, d *diagnosis) {
	// All roles may ask about this one.
	asked := time.Now()
	var stream jetstream.Stream
	err := x.watching(ctx, func(ctx context.Context) (err error) {
		stream, err = x.js.Stream(ctx, x.names.DeadLettersStream())
		return err
	}, "."+x.names.DeadLettersStream()+".")
	if err != nil {
		return // which Examine reports; its absence is no fault of a clock
	}
	answered := time.Now()
	half := answered.Sub(asked) / 2
	reportClock(d, "NATS server", stream.CachedInfo().TimeStamp.Sub(asked.Add(half)), half)
}

// reportClock judges by how much a clock is ahead of ours, known within an error.
func reportClock(d *diagnosis, whose string, ahead, within time.Duration) {
	off := max(0, ahead.Abs()-within)
	direction := "ahead of"
	if ahead < 0 {
		direction = "behind"
	}
	switch {
	case off > clocksMislead:
		d.problem("clocks", whose, clockFix, "%v %s this machine: %s", off.Round(time.Second), direction, clockExplained)
	case off > clocksDiffer:
		d.warn("clocks", whose, clockFix, "%v %s this machine: %s", off.Round(time.Second), direction, clockExplained)
	default:
		d.ok("clocks", whose, "agrees with this machine")
	}
}

// gateways looks at those that run.
func (x *natsExamination) gateways(ctx context.Context, d *diagnosis) {
	var reports []control.Report
	var attending control.Gateways
	err := x.watching(ctx, func(ctx context.Context) (err error) {
		// The name of no endpoint, so that answers are small.
		reports, attending, err = control.Statuses(ctx, x.nc, x.names, "-")
		return err
	}, x.names.ControlEndpointsSubject())
	switch {
	case errors.Is(err, control.ErrNoGateway):
		d.problem("gateways", "", "start `fanjet serve`", "none runs: nothing is delivered")
		return
	case err != nil:
		d.problem("gateways", "", "", "%v", err)
		return
	}
	reportGateways(d, reports, attending)
}

// reportGateways judges those that answered, and names those that did not.
func reportGateways(d *diagnosis, reports []control.Report, attending control.Gateways) {
	for i := range reports {
		reportGateway(d, &reports[i])
	}
	for _, p := range attending.Silent {
		d.problem("gateways", p.Host+" ("+p.ID+")", "see what its machine and its log say", "lives and does not answer: %d of %d did", attending.Answered, attending.Known)
	}
}

// reportGateway judges what a gateway says about itself.
func reportGateway(d *diagnosis, r *control.Report) {
	name := r.Host + " (" + r.ID + ")"
	if own := currentBuild().Version; r.Version != own {
		d.warn("gateways", name, "run the same version everywhere", "version %s, and this program is %s", r.Version, own)
	} else {
		d.ok("gateways", name, "version %s, started %s", r.Version, r.Started.Format(time.RFC3339))
	}
	if r.NotReady != "" {
		d.problem("gateways", name, "", "is not ready: %s", strings.ReplaceAll(r.NotReady, "\n", "; "))
	}
	if r.ConfigRefused != "" {
		d.problem("gateways", name, "correct it; `fanjet check` shows all that is wrong", "goes on with an earlier configuration, and could not start with the file as it is: %s", r.ConfigRefused)
	}
	if r.EventsMissed > 0 {
		d.problem("events", name, "see its log for which; raise max_age or max_bytes of the source, and let nobody purge it",
			"%s left a source before they were fanned out, since it started: nobody gets them", counted(int(r.EventsMissed), "event"))
	}
	if late := time.Duration(r.RetryOverdue * float64(time.Second)); late > 0 {
		d.problem("retries", name, "see whether the NATS server has room; such retries are set anew, and if that does not help, restart it",
			"one is overdue for %v: the server did not fire its schedule", late.Round(time.Second))
	}
	const onTheWay = time.Second // an answer, on a busy machine
	reportClock(d, "gateway on "+name, r.Ahead, onTheWay)
}
