package subscriber

import (
	"fmt"
	"sync"

	"fanjet/subscriber/egress"
	"fanjet/subscriber/endpoint"
	"fanjet/webhook"

	"github.com/hashicorp/go-retryablehttp"
)

// target is what an attempt needs of an endpoint: its settings and its
// connections. It does not change; a reload makes a new one, and attempts that
// run keep theirs.
type target struct {
	endpoint.Settings
	client    *retryablehttp.Client
	transport *transport // of client
	preamble  preamble
	exchanges sync.Pool // of *exchange
	signer    *webhook.Signer
	awake     *awake // nil: the process never stands still
}

// newTarget fails when a secret cannot be used. idle is as in [newClient].
func newTarget(settings endpoint.Settings, guard *egress.Guard, version string, idle *idleLimit) (*target, error) {
	secrets := make([]string, len(settings.Secrets))
	for i, s := range settings.Secrets {
		secrets[i] = s.Reveal()
	}
	signer, err := webhook.NewSigner(secrets...)
	if err != nil {
		return nil, fmt.Errorf("endpoint %s: %w", settings.Name, err)
	}
	preamble, err := newPreamble(settings.URL, settings.Headers, "Fanjet/"+version)
	if err != nil {
		return nil, fmt.Errorf("endpoint %s: %w", settings.Name, err)
	}
	client, transport := newClient(settings.MaxInFlight, guard, idle)
	return &target{
		Settings:  settings,
		client:    client,
		transport: transport,
		preamble:  preamble,
		signer:    signer,
	}, nil
}

// closeIdle closes its connections that nobody uses.
func (e *target) closeIdle() { e.transport.closeIdle() }

// retire lets no attempt send its request any more, because the egress policy is
// another one now.
func (e *target) retire() { e.transport.retire() }
