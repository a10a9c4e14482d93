// Package dlq is the dead-letter queue: what a letter is, and how letters are
// listed, counted, exported, replayed, drained and purged.
//
// A dead letter is a delivery that Fanjet gave up, with the reason. It lives in
// one stream (FANJET_DLQ by default) on one subject an endpoint, and stays
// there until somebody replays, drains or purges it, or until a limit that the operator
// set removes it.
//
// Guarantees:
//
//   - Reading needs no consumer and changes nothing: any number of readers may
//     look at the queue while gateways write to it.
//   - A replay removes a letter only after JetStream has acknowledged the
//     delivery that was made from it. The delivery's Nats-Msg-Id names the
//     letter, so a replay that was interrupted and is run again, or two that
//     run at once, deliver a letter once. JetStream remembers those ids for the
//     duplicates window of the deliveries stream (2 minutes) and forgets those
//     of truncated messages when it restarts; beyond that, what was in flight
//     when a replay was killed may be delivered a second time, with the same
//     webhook-id and the same bytes. A replay that stands still for longer looks
//     again at what it had read before it publishes it.
//   - A drain removes a letter only after its line, and the file, are on the disk.
//   - Replay, drain and purge touch nothing that arrives after they began, and
//     beside each other each letter is counted by one of them.
//   - Memory is bounded, whatever the number of letters.
//
// Pages are read by batched direct gets of our own (direct.go): the helpers that
// exist take a letter with an empty body and a header Status for the end of a page.
// Any replica answers them; what a list may miss by that is said in package jsapi.
package dlq
