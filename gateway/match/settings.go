// Package match decides which endpoints an event goes to: NATS subject
// patterns, then CEL filters.
package match

// Subscription sends the events of some subjects to some endpoints.
type Subscription struct {
	Name      string   // unique
	Subjects  []string // NATS subjects, with the wildcards * and >
	Filter    string   // CEL expression that yields a bool; empty: every event
	Endpoints []string // names
}
