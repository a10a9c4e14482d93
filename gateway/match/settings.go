// Package match decides which endpoints an event goes to: NATS subject
// patterns, then CEL filters.
//
// An event goes to an endpoint once, however many subscriptions say so. What a
// filter needs and the event lacks is no match; a filter that fails for another
// reason concerns its subscription alone. The decision depends on nothing but
// the event and the subscriptions: not on the time, the load or the order in
// which events come.
package match

// Subscription sends the events of some subjects to some endpoints.
type Subscription struct {
	Name      string   // unique
	Subjects  []string // NATS subjects, with the wildcards * and >
	Filter    string   // CEL expression that yields a bool; empty: every event
	Endpoints []string // names
}
