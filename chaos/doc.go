// Package chaos breaks a running Fanjet and checks with a ledger
// (internal/ledger) that nothing was lost and nothing is unexplained. It has
// tests only.
//
// The gateway is the real program in processes of its own, built once with the
// tag failpoint, so that it can be told where to die. The producer and the
// receivers are in the test, and enter into the ledger what they see: PubAcks and
// requests. The signatures are verified by the library of Standard Webhooks, not
// by ours.
//
// A test makes a world, starts a gateway, publishes, breaks something, heals it,
// and calls settle, which waits until nothing moves any more and checks the
// account. What is broken is entered as a fault, for only that explains a
// request that is repeated.
//
// README.md says what is left of a run that failed, and how TestMetamorphic makes
// one smaller.
package chaos
