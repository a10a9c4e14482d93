package main

import (
	"context"
	"encoding/json"
	"errors"
	"io/fs"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"fanjet/config"
	"fanjet/gateway"
	"fanjet/internal/broker"
	"fanjet/internal/control"
	"fanjet/internal/jsapi"
	"fanjet/internal/wire"
)

// examineNATS looks at NATS and what is in it, and at the gateways.
func (g *globals) examineNATS(ctx context.Context, d *diagnosis, cfg *config.Config, timeout time.Duration) {
	connectCtx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	nc, err := g.connect(connectCtx, cfg.NATS, "fanjet doctor")
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
	if err := cfg.NATS.CheckServer(ctx, nc); err != nil {
		d.problem("nats", "", "", "%v", err)
		return
	}
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
	examineDurability(d, cfg)
	examineAccount(ctx, d, js, len(cfg.Sources)+2)
	examinePermissions(d, js, cfg, timeout)
	for _, f := range gateway.Examine(ctx, js, cfg) {
		d.add("streams", f.Object, f.Level, f.Fix, "%s", f.What)
	}
	examineClock(ctx, d, js, cfg)
	examineGateways(ctx, d, nc, cfg)
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

// examinePermissions compares what the server lets this connection do with what
// a gateway needs. Servers before 2.10, and some accounts, do not say.
func examinePermissions(d *diagnosis, js jetstream.JetStream, cfg *config.Config, timeout time.Duration) {
	const subject = "permissions"
	var answer struct {
		Data *server.UserInfo `json:"data"`
	}
	m, err := js.Conn().Request("$SYS.REQ.USER.INFO", nil, min(timeout, 2*time.Second))
	if err == nil {
		err = json.Unmarshal(m.Data, &answer)
	}
	if err != nil || answer.Data == nil {
		d.warn("nats", subject, "", "the server does not say what this connection may do")
		return
	}
	if left := answer.Data.Expires; left > 0 && left < 7*24*time.Hour {
		d.warn("nats", "credentials", "renew them", "they expire in %v", left.Round(time.Minute))
	}
	if answer.Data.Permissions == nil {
		d.ok("nats", subject, "all of the account %s", answer.Data.Account)
		return
	}
	var missing []string
	for _, need := range gatewayPublishes(wire.NewNames(cfg.NATS.Prefix), jsapi.Of(js)) {
		if !mayPublish(answer.Data.Permissions, need) {
			missing = append(missing, need)
		}
	}
	if len(missing) > 0 {
		d.problem("nats", subject, "allow it for the user of the gateway", "publishing to %s is not allowed", strings.Join(missing, ", "))
		return
	}
	d.ok("nats", subject, "limited, and enough to publish what a gateway does; what it subscribes to was not tried")
}

// gatewayPublishes are subjects that stand for all that a gateway publishes to.
func gatewayPublishes(names wire.Names, api jsapi.API) []string {
	bucket := "$KV." + names.StateBucket() + ".cursor.x"
	if api.Prefix() != jsapi.On(nil).Prefix() {
		bucket = api.Subject(bucket) // in a domain, nats.go writes buckets through the API
	}
	return []string{
		api.Subject("STREAM.INFO." + names.DeliveriesStream()),
		api.Subject("CONSUMER.MSG.NEXT." + names.DeliveriesStream() + "." + names.DeliverConsumer()),
		"$JS.ACK." + names.DeliveriesStream() + "." + names.DeliverConsumer() + ".1.1.1.1.1",
		names.DeliverSubject("x"), names.RetrySubject("x", "y"), names.LaneSubject("x"), names.DeadLetterSubject("x"),
		bucket,
	}
}

// mayPublish reports whether permissions allow a subject.
func mayPublish(p *server.Permissions, subject string) bool {
	if p.Publish == nil {
		return true
	}
	covers := func(pattern string) bool { return server.SubjectMatchesFilter(subject, pattern) }
	return !slices.ContainsFunc(p.Publish.Deny, covers) && (len(p.Publish.Allow) == 0 || slices.ContainsFunc(p.Publish.Allow, covers))
}

// Differences between clocks from which on somebody should hear of it:
// receivers allow for five minutes.
const (
	clocksDiffer   = 5 * time.Second
	clocksMislead  = time.Minute
	clockFix       = "let NTP set the clocks of all machines"
	clockExplained = "receivers refuse webhooks whose time is minutes off"
)

// examineClock compares the clock of this machine with that of the server, by an
// answer that has its time.
func examineClock(ctx context.Context, d *diagnosis, js jetstream.JetStream, cfg *config.Config) {
	asked := time.Now()
	stream, err := js.Stream(ctx, wire.NewNames(cfg.NATS.Prefix).DeliveriesStream())
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

// examineGateways looks at those that run.
func examineGateways(ctx context.Context, d *diagnosis, nc *nats.Conn, cfg *config.Config) {
	// The name of no endpoint, so that answers are small.
	reports, _, err := control.Statuses(ctx, nc, wire.NewNames(cfg.NATS.Prefix), "-")
	switch {
	case errors.Is(err, control.ErrNoGateway):
		d.problem("gateways", "", "start `fanjet serve`", "none runs: nothing is delivered")
		return
	case err != nil:
		d.problem("gateways", "", "", "%v", err)
		return
	}
	for i := range reports {
		reportGateway(d, &reports[i])
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
	if late := time.Duration(r.RetryOverdue * float64(time.Second)); late > 0 {
		d.problem("retries", name, "see whether the NATS server has room; such retries are set anew, and if that does not help, restart it",
			"one is overdue for %v: the server did not fire its schedule", late.Round(time.Second))
	}
	const onTheWay = time.Second // an answer, on a busy machine
	reportClock(d, "gateway on "+name, r.Ahead, onTheWay)
}
