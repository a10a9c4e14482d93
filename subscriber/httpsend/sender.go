package httpsend

import (
	"context"
	"crypto/x509"
	"net/http"
	"net/url"
	"sync"
	"time"

	"github.com/hashicorp/go-retryablehttp"

	"fanjet/subscriber/egress"
)

// Options say what a [Sender] sends, and how.
type Options struct {
	URL       *url.URL
	Headers   http.Header // of every request
	UserAgent string
	Timeout   time.Duration  // of an exchange, up to the head of its response
	Slots     int            // exchanges at once; as many connections are kept
	Guard     *egress.Guard  // of every connection that is made
	Roots     *x509.CertPool // the authorities that receivers are trusted by; nil: the system's
	Idle      *IdleLimit     // of the connections that nobody uses, over all senders; nil: none
}

// Sender sends the requests of one endpoint. It has connections of its own, so that no
// endpoint waits for another's. It does not change: other settings have another sender.
// It may be used concurrently.
type Sender struct {
	client    *retryablehttp.Client
	transport *transport // of client
	preamble  preamble
	exchanges sync.Pool // of *Exchange
	url       *url.URL
	timeout   time.Duration
	slots     int
}

// New fails when the URL or a header cannot be sent.
func New(o Options) (*Sender, error) {
	preamble, err := newPreamble(o.URL, o.Headers, o.UserAgent)
	if err != nil {
		return nil, err
	}
	transport := newTransport(o.Slots, o.Guard)
	transport.tls.RootCAs = o.Roots
	transport.idle.limit = o.Idle
	return &Sender{
		client: newClient(transport), transport: transport, preamble: preamble,
		url: o.URL, timeout: o.Timeout, slots: o.Slots,
	}, nil
}

// newClient returns the client of one endpoint, which follows no redirect, asks for no
// compression, uses no proxy of the environment and keeps no cookies. It retries at
// once, and only what [again] lets it; everything longer is a schedule.
func newClient(t *transport) *retryablehttp.Client {
	return &retryablehttp.Client{
		HTTPClient: &http.Client{
			Transport:     t,
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		},
		RetryMax:     1 + maxResends,
		CheckRetry:   again,
		Backoff:      func(time.Duration, time.Duration, int, *http.Response) time.Duration { return 0 },
		ErrorHandler: retryablehttp.PassthroughErrorHandler,
	}
}

// Begin starts an exchange that is given up a timeout after began. The caller sets its
// headers, sends it by Do, and ends it by Finish. The end of ctx interrupts it; the
// body is read until Finish, and not changed.
func (s *Sender) Begin(ctx context.Context, began time.Time, body []byte) *Exchange {
	x, ok := s.exchanges.Get().(*Exchange)
	if !ok {
		x = newExchange()
	}
	x.Context, x.deadline = ctx, began.Add(s.timeout)
	x.preamble, x.body = &s.preamble, body
	x.shell.URL, x.shell.Host = s.url, s.url.Host
	// go-retryablehttp replaces the request when it tries again.
	x.request = retryablehttp.Request{Request: x.shell}
	return x
}

// end gives an exchange back to the pool. Its response must have been closed.
func (s *Sender) end(x *Exchange) {
	x.Context, x.preamble, x.body = nil, nil, nil
	clear(x.fields)
	x.fields = x.fields[:0]
	x.tries, x.sends, x.untaken, x.why, x.resent = 0, 0, 0, "", nil
	x.reused, x.answered, x.overHTTP2 = false, false, false
	x.told = Told{}
	x.response = http.Response{}
	if cap(x.out) > maxKeptBuffer {
		x.out = nil
	}
	if cap(x.in) > maxKeptBuffer {
		x.in = nil
	}
	s.exchanges.Put(x)
}

// Do sends the request of an exchange, and again where that is sound; see [again]. It
// returns with the head of the response, of which only the status and Retry-After are
// there; Finish reads and closes its body. The error is why there is none: the cause
// that ended the context, [outcome.ErrTimeout], [outcome.ErrRetired], or what
// [outcome.ClassOf] makes a class of.
func (s *Sender) Do(x *Exchange) (*http.Response, error) {
	resp, err := s.client.Do(&x.request)
	if err != nil {
		return nil, x.reason(err)
	}
	return resp, nil
}

// CloseIdle closes its connections that nobody uses.
func (s *Sender) CloseIdle() { s.transport.closeIdle() }

// Retire lets no exchange send its request any more, because the egress policy is
// another one now. Those that were sent go on.
func (s *Sender) Retire() { s.transport.retire() }
