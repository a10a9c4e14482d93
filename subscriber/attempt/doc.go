// Package attempt makes one attempt to deliver an event: the request with its headers and
// signature, and what became of it, in one line. It is where an event becomes a request
// and an answer a result; [fanjet/subscriber/httpsend] carries both.
//
// Traps that rule its code:
//
//   - The bytes that are signed are those that are sent, and those that were stored: nothing
//     here writes to the body or copies it.
//   - A header of the producer's can hold anything that NATS takes. Only what says what the
//     body is, and whose trace it belongs to, goes along, and only if it is valid
//     (content.go, trace.go).
//   - A timer that fires because the process was stopped says nothing about the receiver.
//     [Awake] notes how long the process stood still. CLOCK_MONOTONIC stands on a suspended
//     machine, so the time of day is compared with it.
//   - Errors repeat what a receiver sent, and the names in its certificate; answers say why
//     it refused, and some repeat the request. What is told has nothing confidential in it
//     (hide.go, hide_event.go), and goes through [outcome.Plain].
package attempt
