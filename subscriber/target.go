package subscriber

import (
	"fmt"
	"net/netip"
	"sync"

	"github.com/hashicorp/go-retryablehttp"

	"fanjet/webhook"
)

// target is what an attempt needs of an endpoint: its settings and its
// connections. It does not change; a reload makes a new one, and attempts that
// run keep theirs.
type target struct {
	Endpoint
	client    *retryablehttp.Client
	closeIdle func() // closes its connections that nobody uses
	preamble  preamble
	exchanges sync.Pool // of *exchange
	signer    *webhook.Signer
}

// newTarget fails when a secret cannot be used. idle is as in [newClient].
func newTarget(settings Endpoint, egress Egress, refuse []netip.AddrPort, version string, idle *idleLimit) (*target, error) {
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
	client, closeIdle := newClient(settings.MaxInFlight, egress, refuse, idle)
	return &target{
		Endpoint:  settings,
		client:    client,
		closeIdle: closeIdle,
		preamble:  preamble,
		signer:    signer,
	}, nil
}
