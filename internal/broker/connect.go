package broker

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"fanjet/internal/sampled"

	"github.com/nats-io/nats.go"
	"go.uber.org/zap"
)

const (
	dialTimeout = 5 * time.Second

	// A lost server is replaced at once by another one of the list; only after
	// a round through all of them does the client wait.
	reconnectWait   = 500 * time.Millisecond
	reconnectJitter = 500 * time.Millisecond

	// A peer that vanished without a word is noticed after 20 to 30 s. A
	// shorter time would take a busy machine for a dead one.
	pingInterval = 10 * time.Second
	maxPingsOut  = 2

	// A write that the peer does not take for so long has failed. The client holds
	// its lock meanwhile, so that not even a ping can notice.
	writeTimeout = 10 * time.Second

	// While the connection is lost, what is published is kept up to this size
	// and sent on reconnect. It is there for acks, a hundred bytes each, of
	// deliveries that end meanwhile; publishers get an error beyond it and try
	// again by themselves.
	reconnectBuffer = 8 << 20
)

// ConnectOptions say how to connect.
type ConnectOptions struct {
	Name   string  // of the connection, in the listings of NATS
	Server *Server // the server of this process, if that is the one; nil: connect to the settings' URL
	Log    *zap.Logger

	// NoWait returns the error of the first attempt. Without it an unreachable
	// NATS is waited for.
	NoWait bool

	// Inbox is the subject, without the last dot, below which the connection
	// waits for answers; empty: _INBOX. With inboxes of their own, clients of one
	// account need not be able to listen to each other's answers.
	Inbox string

	// Timeout bounds one attempt at one server, handshakes included; zero: 5 s.
	Timeout time.Duration

	// KeyOptional connects to the embedded server of another process also
	// without the operator's key, when that cannot be read: as a producer.
	KeyOptional bool

	// OnState, if set, hears every change of the connection after it was made,
	// one after the other, from a goroutine of the client: it must not block.
	OnState func(connected bool)
	// OnError, if set, hears every error that the server or the client reports
	// beside all requests, such as [nats.ErrPermissionViolation]. As OnState, it
	// must not block.
	OnError func(error)
}

// Connect connects to the server in the process if there is one in opts, else
// to the settings' URL: a list, separated by commas, of servers of one
// cluster. With neither it looks for the embedded server of another process of
// this machine, where settings say that it listens.
//
// To an embedded server it connects as an operator, with the key in the store
// directory. The address of that server may also be given as the URL.
//
// An unreachable NATS is waited for, and the wait is logged; when ctx ends its
// error is returned. What waiting cannot heal (credentials, certificates, a
// peer that is no NATS server) is an error at once, which says what to do.
//
// The connection reconnects for ever, with a little jitter. Close it after
// use.
func Connect(ctx context.Context, settings Settings, opts ConnectOptions) (*nats.Conn, error) {
	if opts.Log == nil {
		opts.Log = zap.NewNop()
	}
	servers, err := settings.servers(opts.Server)
	if err != nil {
		return nil, err
	}
	natsOpts := connectionOptions(opts)
	auth, err := settings.authOptions(opts)
	if err != nil {
		return nil, err
	}
	natsOpts = append(natsOpts, auth...)

	var nc *nats.Conn
	where := describeServers(servers)
	attempt := func(ctx context.Context) error {
		var err error
		nc, err = dial(ctx, strings.Join(servers, ","), natsOpts)
		if errors.Is(err, nats.ErrNkeysNotSupported) && opts.Server == nil && settings.guessesKey() {
			natsOpts = append(natsOpts, nats.Nkey("", nil))
			nc, err = dial(ctx, strings.Join(servers, ","), natsOpts)
		}
		switch {
		case err == nil || ctx.Err() != nil:
			return err
		case cutOff(err) && settings.usesTLS():
		case Transient(err) && !opts.NoWait:
			return err
		}
		return explain(err, where, settings)
	}
	if opts.NoWait {
		err = attempt(ctx)
	} else {
		err = Wait(ctx, opts.Log, "NATS at "+where, Transient, attempt)
	}
	if err != nil {
		return nil, err
	}
	opts.Log.Info("connected to NATS",
		zap.String("server", nc.ConnectedServerName()),
		zap.String("version", nc.ConnectedServerVersion()))
	return nc, nil
}

// dial makes one attempt. When ctx ends first, the attempt ends by itself
// within its timeout.
func dial(ctx context.Context, servers string, opts []nats.Option) (*nats.Conn, error) {
	type result struct {
		nc  *nats.Conn
		err error
	}
	done := make(chan result, 1)
	go func() {
		nc, err := nats.Connect(servers, opts...)
		done <- result{nc, err}
	}()
	select {
	case r := <-done:
		return r.nc, r.err
	case <-ctx.Done():
		go func() {
			if r := <-done; r.nc != nil {
				r.nc.Close()
			}
		}()
		return nil, ctx.Err()
	}
}

func connectionOptions(opts ConnectOptions) []nats.Option {
	log := opts.Log
	state := func(connected bool) {
		if opts.OnState != nil {
			opts.OnState(connected)
		}
	}
	// The callbacks run one at a time.
	unreachable := newFaultLog(log)
	// A refusal of NATS comes for every message, each with a subject of its own.
	reported := newFaultLog(sampled.Logger(log))
	natsOpts := []nats.Option{
		nats.Name(opts.Name),
		nats.Timeout(cmp.Or(opts.Timeout, dialTimeout)),
		nats.MaxReconnects(-1),
		nats.ReconnectWait(reconnectWait),
		nats.ReconnectJitter(reconnectJitter, 2*reconnectJitter),
		nats.ReconnectBufSize(reconnectBuffer),
		nats.FlusherTimeout(writeTimeout),
		nats.ReconnectOnFlusherError(), // else what could not be written is dropped, and nobody knows
		nats.PingInterval(pingInterval),
		nats.MaxPingsOutstanding(maxPingsOut),
		// Credentials may be renewed while the gateway waits; the file is read
		// again at every attempt.
		nats.IgnoreAuthErrorAbort(),
		nats.DisconnectErrHandler(func(nc *nats.Conn, err error) {
			if nc.IsClosed() || nc.IsDraining() {
				return // on purpose; ClosedHandler follows
			}
			log.Warn("lost the connection to NATS, reconnecting", zap.Error(err))
			state(false)
		}),
		nats.ReconnectErrHandler(func(_ *nats.Conn, err error) {
			unreachable.report("waiting for NATS", err)
		}),
		nats.ReconnectHandler(func(nc *nats.Conn) {
			unreachable.clear()
			log.Info("reconnected to NATS", zap.String("server", nc.ConnectedServerName()))
			state(true)
		}),
		nats.ClosedHandler(func(*nats.Conn) { state(false) }),
		nats.ErrorHandler(func(_ *nats.Conn, sub *nats.Subscription, err error) {
			if sub != nil {
				err = fmt.Errorf("%w, on subject %s", err, sub.Subject)
			}
			reported.report("NATS reported an error", err)
			if opts.OnError != nil {
				opts.OnError(err)
			}
		}),
	}
	if opts.Inbox != "" {
		natsOpts = append(natsOpts, nats.CustomInboxPrefix(opts.Inbox))
	}
	if opts.Server != nil {
		natsOpts = append(natsOpts, nats.InProcessServer(opts.Server))
	}
	return natsOpts
}
