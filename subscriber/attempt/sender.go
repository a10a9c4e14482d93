package attempt

import (
	"context"
	"net/http"
	"net/url"
	"sync"
	"time"

	"github.com/hashicorp/go-retryablehttp"

	"fanjet/subscriber/egress"
)

// senderOptions say what requests are sent, and how.
type senderOptions struct {
	URL       *url.URL
	Headers   http.Header // of every request
	UserAgent string
	Timeout   time.Duration // of an exchange
	Slots     int           // exchanges at once; as many connections are kept
	Guard     *egress.Guard
	Idle      *IdleLimit // of the connections that nobody uses, over all senders; nil: none
}

// sender sends the requests of one endpoint. It has connections of its own, so that no
// endpoint waits for another's. It may be used concurrently.
type sender struct {
	client    *retryablehttp.Client
	transport *transport // of client
	preamble  preamble
	exchanges sync.Pool // of *exchange
	url       *url.URL
	timeout   time.Duration
	slots     int
}

// newSender fails when the URL or a header cannot be sent.
func newSender(o senderOptions) (*sender, error) {
	preamble, err := newPreamble(o.URL, o.Headers, o.UserAgent)
	if err != nil {
		return nil, err
	}
	client, transport := newClient(o.Slots, o.Guard, o.Idle)
	return &sender{client: client, transport: transport, preamble: preamble, url: o.URL, timeout: o.Timeout, slots: o.Slots}, nil
}

// newClient returns the client of one endpoint. Each endpoint has connections
// of its own, so that none waits for another's.
//
// It follows no redirect, asks for no compression, uses no proxy and keeps no
// cookies. It connects where guard lets it. The only
// retry is an immediate one when a connection that was kept alive turns out to
// be dead before any byte of the response; everything longer is a schedule.
//
// idle limits the number of connections that nobody uses over all endpoints; nil:
// it does not.
func newClient(slots int, guard *egress.Guard, idle *IdleLimit) (*retryablehttp.Client, *transport) {
	t := newTransport(slots, guard)
	t.idle.limit = idle
	return &retryablehttp.Client{
		HTTPClient: &http.Client{
			Transport:     t,
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		},
		RetryMax:     1 + maxResends,
		CheckRetry:   again,
		Backoff:      func(time.Duration, time.Duration, int, *http.Response) time.Duration { return 0 },
		ErrorHandler: retryablehttp.PassthroughErrorHandler,
	}, t
}

// begin starts an exchange. The caller sets its headers, then sends it by do, and
// ends it by end or finish.
func (s *sender) begin(ctx context.Context, deadline time.Time, body []byte) *exchange {
	x, ok := s.exchanges.Get().(*exchange)
	if !ok {
		x = newExchange()
	}
	x.Context, x.deadline = ctx, deadline
	x.preamble, x.body = &s.preamble, body
	x.shell.URL, x.shell.Host = s.url, s.url.Host
	// go-retryablehttp replaces the request when it tries again.
	x.request = retryablehttp.Request{Request: x.shell}
	return x
}

// end gives the exchange back. Its response must have been closed.
func (s *sender) end(x *exchange) {
	x.Context, x.preamble, x.body = nil, nil, nil
	clear(x.fields)
	x.fields = x.fields[:0]
	x.tries, x.sends, x.untaken, x.why, x.resent = 0, 0, 0, "", nil
	x.reused, x.answered, x.overHTTP2 = false, false, false
	x.told = told{}
	x.response = http.Response{}
	if cap(x.out) > maxKeptBuffer {
		x.out = nil
	}
	if cap(x.in) > maxKeptBuffer {
		x.in = nil
	}
	s.exchanges.Put(x)
}

// do sends the request of an exchange, and again where that is sound; see [again].
func (s *sender) do(x *exchange) (*http.Response, error) { return s.client.Do(&x.request) }

// closeIdle closes its connections that nobody uses.
func (s *sender) closeIdle() { s.transport.closeIdle() }

// retire lets no attempt send its request any more, because the egress policy is
// another one now.
func (s *sender) retire() { s.transport.retire() }
