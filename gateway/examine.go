package gateway

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"golang.org/x/sync/errgroup"

	"fanjet/config"
	"fanjet/gateway/topology"
	"fanjet/internal/broker"
	"fanjet/internal/jsapi"
	"fanjet/internal/wire"
)

// Level says how bad a [Finding] is.
type Level string

// The levels.
const (
	LevelOK      Level = "ok"
	LevelWarning Level = "warning" // works, but somebody should look
	LevelProblem Level = "problem" // does not work, or loses something
)

// Finding is what an examination found out about a stream or consumer.
type Finding struct {
	Level  Level
	Object string // such as "stream EVENTS"
	What   string
	Fix    string // what to do; empty: nothing
}

// examinedAtOnce bounds how many streams are asked about at a time.
const examinedAtOnce = 8

// Watch returns a context for questions about a stream, which ends when nobody will
// answer them; end is called when they are answered. See [broker.Refusals].
type Watch func(ctx context.Context, stream string) (watched context.Context, end func())

// Examine compares every stream and consumer that the configuration needs with
// what they are in NATS, as a gateway does when it starts, but changes nothing.
// Every one of them has at least one finding. Several are asked about at once; watch
// is optional.
func Examine(ctx context.Context, js jetstream.JetStream, cfg *config.Config, watch Watch) []Finding {
	plans := topology.PlanFor(wire.NewNames(cfg.NATS.Prefix), cfg, js.Conn().MaxPayload())
	if watch == nil {
		watch = func(ctx context.Context, _ string) (context.Context, func()) { return ctx, func() {} }
	}
	first := &examination{js: js}
	first.refusals(topology.CheckSourceNames(plans))
	found := make([]*examination, len(plans))
	var group errgroup.Group
	group.SetLimit(examinedAtOnce)
	for i := range plans {
		found[i] = &examination{js: js}
		group.Go(func() error {
			ctx, end := watch(ctx, plans[i].Want.Name)
			defer end()
			found[i].stream(ctx, &plans[i])
			return nil
		})
	}
	_ = group.Wait() // none fails
	all := first.found
	for _, x := range found {
		all = append(all, x.found...)
	}
	return all
}

type examination struct {
	js    jetstream.JetStream
	found []Finding
}

// unanswered adds why a question was not answered.
func (x *examination) unanswered(ctx context.Context, object string, err error) {
	if refused := broker.Refusal(ctx); refused != nil {
		x.add(LevelWarning, object, "", "was not looked at as a whole: %v", refused)
		return
	}
	x.refusals(err)
}

func (x *examination) add(level Level, object, fix, format string, args ...any) {
	x.found = append(x.found, Finding{Level: level, Object: object, What: fmt.Sprintf(format, args...), Fix: fix})
}

// refusals adds what must be mended, of errors that may be joined.
func (x *examination) refusals(err error) {
	switch err := err.(type) { //nolint:errorlint // the parts of joined errors are wanted one by one
	case nil:
	case interface{ Unwrap() []error }:
		for _, e := range err.Unwrap() {
			x.refusals(e)
		}
	case *wire.NewerError:
		x.add(LevelProblem, "stream "+strings.Join(err.Streams, ", "), err.Fix(), "%s", err.What())
	case *topology.Refusal:
		what := err.What
		if err.Why != "" {
			what += ": " + err.Why
		}
		if err.Cause != nil {
			what += fmt.Sprintf(" (%v)", err.Cause)
		}
		x.add(LevelProblem, err.Object, err.Fix, "%s", what)
	default:
		x.add(LevelProblem, "JetStream", "", "%v", err)
	}
}

func (x *examination) stream(ctx context.Context, p *topology.Plan) {
	object := "stream " + p.Want.Name
	found, err := p.Inspect(ctx, x.js)
	if err != nil {
		x.unanswered(ctx, object, err)
		return
	}
	if found == nil {
		x.add(LevelWarning, object, "", "does not exist yet: the next start of `fanjet serve` creates it")
		return
	}
	stream, err := x.js.Stream(ctx, p.Want.Name)
	if err != nil {
		x.unanswered(ctx, object, fmt.Errorf("look at the %s: %w", object, err))
		return
	}
	info := stream.CachedInfo() // of just now
	before := len(x.found)
	if len(found.Changes) > 0 {
		x.add(LevelWarning, object, "", "differs from the configuration, and the next start of `fanjet serve` changes it: %s", strings.Join(found.Changes, "; "))
	}
	for _, a := range found.Advices {
		x.add(LevelWarning, object, a.Fix, "%s: %s", a.What, a.Why)
	}
	x.cluster(object, info.Cluster)
	x.room(object, info)
	if len(x.found) == before {
		x.add(LevelOK, object, "", "%s, %s", messages(info.State.Msgs), copies(info))
	}
	if p.Consumer != nil {
		x.consumer(ctx, stream, p.Consumer)
	}
}

// messages is a number of them.
func messages(n uint64) string {
	if n == 1 {
		return "1 message"
	}
	return fmt.Sprintf("%d messages", n)
}

// copies says where a stream is kept.
func copies(info *jetstream.StreamInfo) string {
	if info.Config.Replicas <= 1 || info.Cluster == nil {
		return "one copy"
	}
	return fmt.Sprintf("%d copies, led by %s", info.Config.Replicas, info.Cluster.Leader)
}

// cluster looks at the copies of a stream or consumer.
func (x *examination) cluster(object string, c *jetstream.ClusterInfo) {
	if c == nil {
		return
	}
	if c.Leader == "" {
		x.add(LevelProblem, object, "bring the missing servers back", "has no leader: fewer than half of its servers are there")
	}
	for _, r := range c.Replicas {
		switch {
		case r.Offline:
			x.add(LevelWarning, object, "bring it back: one more failure can stop the stream", "its copy on %s is offline", r.Name)
		case !r.Current:
			x.add(LevelWarning, object, "it catches up by itself; look again", "its copy on %s is behind by %d operations", r.Name, r.Lag)
		}
	}
}

// room warns before a stream that refuses what does not fit is full.
func (x *examination) room(object string, info *jetstream.StreamInfo) {
	if most := info.Config.MaxBytes; most > 0 && info.State.Bytes > uint64(most)/5*4 {
		x.add(LevelWarning, object, "raise its max_bytes, or find out why it is not emptied",
			"is full to %d%%: when it is full, it takes nothing", info.State.Bytes*100/uint64(most))
	}
}

func (x *examination) consumer(ctx context.Context, stream jetstream.Stream, want *jetstream.ConsumerConfig) {
	object := topology.ConsumerObject(stream.CachedInfo().Config.Name, want.Durable)
	consumer, err := stream.Consumer(ctx, want.Durable)
	switch {
	case errors.Is(err, jetstream.ErrConsumerNotFound):
		x.add(LevelWarning, object, "", "does not exist yet: a gateway that runs creates it")
		return
	case err != nil:
		x.unanswered(ctx, object, fmt.Errorf("%s: %w", object, err))
		return
	}
	info := consumer.CachedInfo()
	before := len(x.found)
	x.refusals(topology.CheckPaused(info))
	if topology.Adjusted(info.Config, topology.Within(stream.CachedInfo().Config.ConsumerLimits, *want)) != nil {
		x.add(LevelWarning, object, "", "differs from what Fanjet wants, and the next start of `fanjet serve` changes it")
	}
	x.cluster(object, info.Cluster)
	x.behind(ctx, object, stream, info)
	if len(x.found) == before {
		x.add(LevelOK, object, "", "%d waiting, %d being handled", info.NumPending, info.NumAckPending)
	}
}

// behindFor is how old the first message may be that a consumer has not settled.
const behindFor = time.Minute

// behind warns of a consumer that does not keep up. Its age is that of the message
// after its ack floor, or of the next one that is there.
func (x *examination) behind(ctx context.Context, object string, stream jetstream.Stream, info *jetstream.ConsumerInfo) {
	if info.NumPending == 0 && info.NumAckPending == 0 {
		return
	}
	api := jsapi.Of(x.js)
	m, err := api.Next(ctx, info.Stream, cmp.Or(info.Config.FilterSubject, ">"), info.AckFloor.Stream+1)
	if err != nil {
		return // it was settled meanwhile, or may not be looked at
	}
	age := stream.CachedInfo().TimeStamp.Sub(m.Time)
	if age > behindFor {
		x.add(LevelWarning, object, "see whether gateways run and are ready, and `fanjet endpoints list`",
			"is behind: the first of %d messages that are not handled is %v old", info.NumPending+uint64(info.NumAckPending), age.Round(time.Second))
	}
}
