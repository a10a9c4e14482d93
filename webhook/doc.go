// Package webhook signs and verifies webhooks and helps to receive them. It
// follows Standard Webhooks 1.0 (https://www.standardwebhooks.com), so it also
// works with senders other than Fanjet, and its only dependency is the standard
// library.
//
// A receiver needs a [Handler]:
//
//	verifier, err := webhook.NewVerifier(os.Getenv("WEBHOOK_SECRET"))
//	…
//	handler, err := webhook.NewHandler(http.HandlerFunc(handle), webhook.HandlerOptions{
//		Verifier: verifier,
//		Store:    &webhook.MemoryStore{},
//	})
//
// What it guarantees to the handler that it wraps:
//
//   - The id, the timestamp and every byte of the body were signed by somebody
//     who has the secret, at most five minutes ago.
//   - The body is within the limit and has been read completely.
//   - No two requests with the same id run at the same time, and none runs
//     after one that succeeded, as long as the [Store] remembers it. A request
//     that failed may come again: the sender retries it with the same id.
//
// # Secrets
//
// A secret is a text that says what it is for:
//
//	whsec_…  shared by sender and receiver; HMAC-SHA256, entries "v1,…"
//	whsk_…   the sender's private key; Ed25519, entries "v1a,…"
//	whpk_…   the public key that belongs to it, for the receiver
//
// Several at once make rotation possible: the sender signs with all of its
// secrets, and the receiver accepts a signature of any of its own.
package webhook

// Headers of a webhook, in the form that [net/http.Header] keeps them.
const (
	HeaderID        = "Webhook-Id"        // id of the event, the same on every attempt; signed
	HeaderTimestamp = "Webhook-Timestamp" // when this attempt was signed, in Unix seconds; signed
	HeaderSignature = "Webhook-Signature" // signatures, separated by spaces
	HeaderSubject   = "Fanjet-Subject"    // subject that the event was published on; not signed
	HeaderAttempt   = "Fanjet-Attempt"    // number of this attempt, from 1; not signed
)
