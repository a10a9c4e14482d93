package attempt

import (
	"fmt"

	"fanjet/subscriber/egress"
	"fanjet/subscriber/endpoint"
	"fanjet/subscriber/httpsend"
	"fanjet/webhook"
)

// Target is what an attempt needs of an endpoint: its settings and its
// connections. It does not change; a reload makes a new one, and attempts that
// run keep theirs.
type Target struct {
	endpoint.Settings
	sender *httpsend.Sender
	signer *webhook.Signer
	Awake  *Awake // nil: the process never stands still
}

// NewTarget fails when a secret, the URL or a header cannot be used. version is that of
// Fanjet, which requests name; idle limits the connections that nobody uses over all
// targets, nil: it does not.
func NewTarget(settings endpoint.Settings, guard *egress.Guard, version string, idle *httpsend.IdleLimit) (*Target, error) {
	secrets := make([]string, len(settings.Secrets))
	for i, s := range settings.Secrets {
		secrets[i] = s.Reveal()
	}
	signer, err := webhook.NewSigner(secrets...)
	if err != nil {
		return nil, fmt.Errorf("endpoint %s: %w", settings.Name, err)
	}
	sender, err := httpsend.New(sending(settings, guard, version, idle))
	if err != nil {
		return nil, fmt.Errorf("endpoint %s: %w", settings.Name, err)
	}
	return &Target{Settings: settings, sender: sender, signer: signer}, nil
}

// sending is how the requests of an endpoint are sent.
func sending(settings endpoint.Settings, guard *egress.Guard, version string, idle *httpsend.IdleLimit) httpsend.Options {
	return httpsend.Options{
		URL: settings.URL, Headers: settings.Headers, UserAgent: "Fanjet/" + version,
		Timeout: settings.Timeout, Slots: settings.MaxInFlight, Guard: guard, Idle: idle,
	}
}

// CloseIdle closes its connections that nobody uses.
func (e *Target) CloseIdle() { e.sender.CloseIdle() }

// Retire lets no attempt send its request any more, because the egress policy is
// another one now.
func (e *Target) Retire() { e.sender.Retire() }
