package main

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/nats-io/nats-server/v2/server"

	"fanjet/config"
	"fanjet/internal/jsapi"
	"fanjet/internal/wire"
)

// role is what a user of NATS is for, as in deploy/nats.
type role string

const (
	roleGateway  role = "gateway"
	roleOperator role = "operator"
	roleViewer   role = "viewer"
	roleProducer role = "producer"
)

func roleWords() []string {
	return []string{string(roleGateway), string(roleOperator), string(roleViewer), string(roleProducer)}
}

// String implements pflag.Value.
func (r *role) String() string { return string(*r) }

// Type implements pflag.Value.
func (r *role) Type() string { return strings.Join(roleWords(), "|") }

// Set implements pflag.Value.
func (r *role) Set(text string) error {
	if !slices.Contains(roleWords(), text) {
		return fmt.Errorf("must be one of %s", strings.Join(roleWords(), ", "))
	}
	*r = role(text)
	return nil
}

// rights are subjects that stand for all that a role publishes and subscribes to. Those
// of the first kind no other role has.
type rights struct {
	own                []string // published to
	publish, subscribe []string
}

// rightsOf says what a role needs.
func rightsOf(r role, names wire.Names, api jsapi.API, cfg *config.Config) rights {
	bucket := "$KV." + names.StateBucket() + "."
	if api.Prefix() != jsapi.On(nil).Prefix() {
		bucket = api.Subject(bucket) // in a domain, nats.go writes buckets through the API
	}
	dead, lanes, state := names.DeadLettersStream(), names.LanesStream(), "KV_"+names.StateBucket()
	look := []string{
		names.ControlEndpointsSubject(), api.Subject("INFO"), api.Subject("DIRECT.GET." + dead), api.Subject("STREAM.MSG.GET." + state),
		api.Subject("STREAM.MSG.GET." + lanes), api.Subject("CONSUMER.INFO." + lanes + ".x"), api.Subject("DIRECT.GET." + names.AuditStream()),
	}
	for _, stream := range []string{lanes, names.RetriesStream(), dead, names.AuditStream(), state} {
		look = append(look, api.Subject("STREAM.INFO."+stream))
	}
	answers := []string{names.OperatorInbox() + ".x.y"}
	switch r {
	case roleOperator:
		return rights{
			own: []string{names.DeliverSubject("x"), names.ControlPingSubject("x"), names.ControlResumeSubject("x"), names.AuditSubject("cli", "pause"), api.Subject("STREAM.PURGE." + dead)},
			publish: append(look, bucket+"paused.x", api.Subject("STREAM.MSG.GET."+dead), api.Subject("STREAM.MSG.DELETE."+dead),
				api.Subject("STREAM.INFO."+names.DeliveriesStream())),
			subscribe: answers,
		}
	case roleViewer:
		return rights{own: []string{names.ControlEndpointsSubject(), api.Subject("STREAM.INFO." + dead)}, publish: look, subscribe: answers}
	case roleProducer:
		return rights{publish: sourceSubjects(cfg), subscribe: []string{defaultInbox + ".x.y"}}
	default:
		return gatewayRights(names, api, cfg, bucket)
	}
}

// gatewayRights are those of a gateway.
func gatewayRights(names wire.Names, api jsapi.API, cfg *config.Config, bucket string) rights {
	need := rights{
		own: []string{
			"$JS.ACK." + names.DeliveriesStream() + "." + names.DeliverConsumer() + ".1.1.1.1.1", names.LaneSubject("x"), names.DeadLetterSubject("x"),
			api.Subject("CONSUMER.MSG.NEXT." + names.DeliveriesStream() + "." + names.DeliverConsumer()),
		},
		publish: []string{
			names.DeliverSubject("x"), names.RetrySubject("x", "y"), bucket + "cursor.x", bucket + "direct.x", names.OperatorInbox() + ".x.y", names.GatewayInbox() + ".x.y",
			names.ControlAliveSubject(), api.Subject("INFO"), "$JS.ACK." + names.RetriesStream() + "." + names.DueConsumer() + ".1.1.1.1.1",
			api.Subject("CONSUMER.MSG.NEXT." + names.RetriesStream() + "." + names.DueConsumer()), api.Subject("CONSUMER.CREATE." + names.LanesStream() + ".x"),
			// Direct delivery looks for the schedule of an attempt, and takes back the one it
			// leased.
			api.Subject("STREAM.MSG.GET." + names.RetriesStream()), api.Subject("STREAM.MSG.DELETE." + names.RetriesStream()),
		},
		subscribe: []string{names.GatewayInbox() + ".x.y", names.ControlEndpointsSubject(), names.ControlPingSubject("x"), names.ControlResumeSubject("x"), names.ControlAliveSubject()},
	}
	for _, stream := range []string{
		names.DeliveriesStream(), names.RetriesStream(), names.LanesStream(), names.DeadLettersStream(), names.AuditStream(), "KV_" + names.StateBucket(),
	} {
		need.publish = append(need.publish, api.Subject("STREAM.INFO."+stream), api.Subject("STREAM.CREATE."+stream))
	}
	for _, source := range cfg.Sources {
		stream, consumer := source.Stream, names.MatchConsumer()
		need.publish = append(need.publish, api.Subject("STREAM.INFO."+stream), api.Subject("STREAM.MSG.GET."+stream), api.Subject("CONSUMER.INFO."+stream+"."+consumer),
			api.Subject("CONSUMER.MSG.NEXT."+stream+"."+consumer), "$JS.ACK."+stream+"."+consumer+".1.1.1.1.1")
		if source.Create {
			need.publish = append(need.publish, api.Subject("STREAM.CREATE."+stream))
		}
	}
	if subject := cfg.Canary.Subject; subject != "" {
		need.publish = append(need.publish, subject)
	}
	return need
}

// sourceSubjects are subjects of events, one for each of the sources.
func sourceSubjects(cfg *config.Config) (subjects []string) {
	for _, source := range cfg.Sources {
		for _, subject := range source.Subjects {
			subjects = append(subjects, strings.NewReplacer("*", "x", ">", "x").Replace(subject))
		}
	}
	return subjects
}

// missing says what of it permissions do not allow.
func (n *rights) missing(p *server.Permissions) (missing []string) {
	for _, subject := range append(slices.Clone(n.own), n.publish...) {
		if !allows(p.Publish, subject) {
			missing = append(missing, "publish to "+subject)
		}
	}
	for _, subject := range n.subscribe {
		if !allows(p.Subscribe, subject) {
			missing = append(missing, "subscribe to "+subject)
		}
	}
	return missing
}

// fits reports whether permissions have something that only this role has.
func (n *rights) fits(p *server.Permissions) bool {
	return slices.ContainsFunc(n.own, func(subject string) bool { return allows(p.Publish, subject) })
}

// allows reports whether permissions allow a subject.
func allows(p *server.SubjectPermission, subject string) bool {
	if p == nil {
		return true
	}
	covers := func(pattern string) bool {
		pattern, _, _ = strings.Cut(pattern, " ") // of a queue
		return server.SubjectMatchesFilter(subject, pattern)
	}
	return !slices.ContainsFunc(p.Deny, covers) && (len(p.Allow) == 0 || slices.ContainsFunc(p.Allow, covers))
}

// permissions compares what the server lets this connection do with what its role
// needs, and returns the role. Servers before 2.10, and some users, do not say.
func (x *natsExamination) permissions(ctx context.Context, d *diagnosis, as role) role {
	const subject, question = "permissions", "$SYS.REQ.USER.INFO"
	var answer struct {
		Data *server.UserInfo `json:"data"`
	}
	err := x.watching(ctx, func(ctx context.Context) error {
		ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
		defer cancel()
		m, err := x.nc.RequestWithContext(ctx, question, nil)
		if err == nil {
			err = json.Unmarshal(m.Data, &answer)
		}
		return err
	}, question+".")
	if err != nil || answer.Data == nil {
		d.warn("nats", subject, "", "the server does not say what this user may do: %v", err)
		return as
	}
	if left := answer.Data.Expires; left > 0 && left < 7*24*time.Hour {
		d.warn("nats", "credentials", "renew them", "they expire in %v", left.Round(time.Minute))
	}
	p := answer.Data.Permissions
	if p == nil {
		d.ok("nats", subject, "all of the account %s", answer.Data.Account)
		return as
	}
	api := jsapi.Of(x.js)
	if as == "" {
		as = roleProducer
		for _, r := range []role{roleGateway, roleOperator, roleViewer} {
			if need := rightsOf(r, x.names, api, x.cfg); need.fits(p) {
				as = r
				break
			}
		}
	}
	need := rightsOf(as, x.names, api, x.cfg)
	if missing := need.missing(p); len(missing) > 0 {
		d.problem("nats", subject, fmt.Sprintf("allow it, as deploy/nats does; or name the role that this user has with --role, if it is not that of %s", as.withArticle()),
			"this user lacks rights of %s: to %s", as.withArticle(), strings.Join(missing, ", to "))
		return as
	}
	d.ok("nats", subject, "limited, and what %s needs", as.withArticle())
	return as
}

func (r role) withArticle() string {
	if r == roleOperator {
		return "an operator"
	}
	return "a " + string(r)
}
