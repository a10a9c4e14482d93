package attempt

import (
	"fmt"

	"fanjet/subscriber/egress"
	"fanjet/subscriber/endpoint"
	"fanjet/webhook"
)

// Target is what an attempt needs of an endpoint: its settings and its
// connections. It does not change; a reload makes a new one, and attempts that
// run keep theirs.
type Target struct {
	endpoint.Settings
	sender *sender
	signer *webhook.Signer
	Awake  *Awake // nil: the process never stands still
}

// NewTarget fails when a secret cannot be used. idle is as in [newClient].
func NewTarget(settings endpoint.Settings, guard *egress.Guard, version string, idle *IdleLimit) (*Target, error) {
	secrets := make([]string, len(settings.Secrets))
	for i, s := range settings.Secrets {
		secrets[i] = s.Reveal()
	}
	signer, err := webhook.NewSigner(secrets...)
	if err != nil {
		return nil, fmt.Errorf("endpoint %s: %w", settings.Name, err)
	}
	sender, err := newSender(senderOptions{
		URL: settings.URL, Headers: settings.Headers, UserAgent: "Fanjet/" + version,
		Timeout: settings.Timeout, Slots: settings.MaxInFlight, Guard: guard, Idle: idle,
	})
	if err != nil {
		return nil, fmt.Errorf("endpoint %s: %w", settings.Name, err)
	}
	return &Target{Settings: settings, sender: sender, signer: signer}, nil
}

// CloseIdle closes its connections that nobody uses.
func (e *Target) CloseIdle() { e.sender.closeIdle() }

// Retire lets no attempt send its request any more, because the egress policy is
// another one now.
func (e *Target) Retire() { e.sender.retire() }
