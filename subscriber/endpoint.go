package subscriber

import (
	"fmt"
	"net/netip"
	"sync"

	"github.com/hashicorp/go-retryablehttp"

	"fanjet/webhook"
)

// endpoint is an endpoint at work: its settings, its connections, and what
// waits for one of its slots.
type endpoint struct {
	Endpoint
	client    *retryablehttp.Client
	closeIdle func() // closes its connections that nobody uses
	preamble  preamble
	exchanges sync.Pool // of *exchange
	signer    *webhook.Signer
	metrics   endpointMetrics

	mu       sync.Mutex
	inFlight int
	queue    []*delivery // waits for a slot, oldest first
	stopped  bool        // nothing starts any more
}

func newEndpoint(settings Endpoint, o *Options, refuse []netip.AddrPort, m *metrics) (*endpoint, error) {
	secrets := make([]string, len(settings.Secrets))
	for i, s := range settings.Secrets {
		secrets[i] = s.Reveal()
	}
	signer, err := webhook.NewSigner(secrets...)
	if err != nil {
		return nil, fmt.Errorf("endpoint %s: %w", settings.Name, err)
	}
	preamble, err := newPreamble(settings.URL, settings.Headers, "Fanjet/"+o.Version)
	if err != nil {
		return nil, fmt.Errorf("endpoint %s: %w", settings.Name, err)
	}
	client, closeIdle := newClient(settings.MaxInFlight, o.Egress, refuse)
	return &endpoint{
		Endpoint:  settings,
		client:    client,
		closeIdle: closeIdle,
		preamble:  preamble,
		signer:    signer,
		metrics:   m.forEndpoint(settings.Name),
	}, nil
}

// admit takes a delivery. It reports whether the caller shall start it; else it
// waits in the queue, or, after stop, was not taken.
func (e *endpoint) admit(d *delivery) (start, taken bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	switch {
	case e.stopped:
		return false, false
	case e.inFlight < e.MaxInFlight:
		e.inFlight++
		return true, true
	default:
		e.queue = append(e.queue, d)
		return false, true
	}
}

// next frees the slot of a finished delivery, or hands it to the one that waits
// longest.
func (e *endpoint) next() *delivery {
	e.mu.Lock()
	defer e.mu.Unlock()
	if len(e.queue) == 0 {
		e.inFlight--
		return nil
	}
	d := e.queue[0]
	e.queue[0] = nil
	e.queue = e.queue[1:]
	if len(e.queue) == 0 {
		e.queue = nil // let the backing array go
	}
	return d
}

// stop lets nothing start any more and returns what waits.
func (e *endpoint) stop() []*delivery {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.stopped = true
	waiting := e.queue
	e.queue = nil
	return waiting
}
