// Package broker connects to NATS: to the server embedded in the process, or
// to one that somebody else runs.
//
// # The embedded server
//
//   - Two NATS servers on one folder do not notice each other: a lock on fanjet.lock in
//     store_dir keeps the second out. The file matters only while a process holds it.
//     For moments there is fanjet.room, with which is tried whether the disk takes
//     anything.
//   - A producer lives in an account of its own, to which only the subjects of the
//     sources are let through (users.go): the server sends a PubAck to whatever reply
//     subject the producer chose. operator.go keeps the operator's key.
//   - A stream that cannot be read at the start, for want of descriptors for example, is
//     left out by the server with a line in the log, as if it had never been, and would be
//     made anew, empty. The embedded server does not start then (embedded.go).
//   - The first error of a write, be it for want of space or of descriptors, is kept by the
//     stream's store and returned for ever, also when there is room again. [Server.Watch]
//     restarts the server once the error has passed. For the rest of the process that is an
//     outage of NATS of a moment ([Server.Restart]).
//
// # A server of others
//
// A lost connection is the client's to restore, for ever. A server that is cut off from its
// cluster is left for another one. A right that NATS refuses arrives beside all requests;
// [Refusals] takes it to whoever waits for the answer.
package broker
