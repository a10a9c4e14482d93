// Package publish moves messages into JetStream streams: the one batching
// publisher that every hop of a delivery uses.
//
// Batches form by themselves: while one is in flight the next one fills, and a
// message that is alone goes out at once. The publisher learns what the server
// does sooner: single messages, many in flight, or an atomic batch (nats-server
// 2.12 and newer), which is one sync of the disk for all of it. With [Options.Linger] a
// message waits a while for others, for the sake of those who share the disk: nobody waits
// for it.
//
// Messages are stored in the order in which they were enqueued as long as
// nothing fails; one that is tried again comes behind others. With
// [Options.InOrder] it never does.
//
// Guarantees:
//   - The completion of a message is called exactly once: with nil only after
//     JetStream acknowledged it, or that it holds the message already (same
//     Nats-Msg-Id).
//   - A fault that will pass (no answer, no leader, connection lost, stream
//     full) holds the messages and tries again, with the same ids. [Options]
//     can say that a full stream is an answer instead.
//   - A message that JetStream refuses for what it is, or because it expects another
//     last sequence ([IsConflict]), does not take the rest of its batch with it: the
//     batch is bisected until the culprit stands alone.
//
// # What decides between a batch and single messages
//
// With a sync at every write, the sync is what costs, and a batch has one. Without,
// its staging costs: the server writes it twice. A batch of 1,000 takes about 43 µs
// of CPU time a message then, server included, and one of 64 about 120; single
// messages, many in flight, take 17. The fast batches of nats-server 2.14
// (allow_batched) would gain nothing: they sync for every message, and without
// syncs they take 19 µs.
//
// # Traps of JetStream
//
// Each was met with a real server (2.15):
//   - A batch with one Nats-Msg-Id that is known is refused as a whole (10201). Its
//     messages are published singly then, where a duplicate counts as stored
//     (send.go).
//   - Of single messages in flight one can fail while later ones are stored. Each
//     has a subject of its own for its answer, which is never used again: an answer
//     that comes too late says nothing about another publish (singles.go).
//   - A replicated stream that has not decided on a message yet refuses a second one
//     with its id for the moment (10158). That is no refusal of the message: it is
//     held and sent again.
//   - A message that expects another last sequence (of its subject) than there is gets
//     10071, and a batch with one is refused as a whole. Two in one batch for the same
//     subject, the second with an expectation, get 10164; so does, in a cluster, a
//     single message while an earlier one for its subject is not decided. That says
//     nothing of the expectation: the batch is bisected, the single message sent again.
//   - A single message whose id is known and whose expectation does not hold is a
//     duplicate in a cluster, and 10071 on a server without one. In a batch it is a
//     duplicate (10201) on both. So a conflict of a message with an id is looked at
//     once more, as a batch of one (conflict.go); a known id counts as stored.
//   - An id outlives its message: after the message was deleted a second one with the
//     id is a duplicate still, and stores nothing, though its expectation holds.
//   - A commit in flight when its server dies never gets an answer. The wait ends
//     when the connection breaks (reset.go), and the batch is sent again, with the
//     same message ids and a new batch id.
//   - What was staged and never committed counts against the server's 50 open
//     batches for ten seconds: a batch that holds a message which is too large is
//     not staged at all.
//   - Message ids inside a batch came with nats-server 2.12.1, which is therefore
//     the oldest that Fanjet works with.
package publish
