// Package intake receives messages from a durable pull consumer into a bounded
// window, keeps them from being redelivered while they are worked on, and
// settles them.
//
// Guarantees:
//   - No more than the window, in messages and in bytes, is asked for at once.
//     What a server sends beyond that is held, too: nothing waits unseen in a
//     client buffer.
//   - From receipt to settlement the server is told that a message is in
//     progress, so often that what it remembers of a message is never much older
//     than a beat. A message that is held already, or was acked a moment ago, is
//     not handed out a second time when the server sends it again.
//   - Handle is called in the order of receipt, from one goroutine.
//
// # Why it speaks the pull protocol itself
//
// The jetstream package of nats.go takes an empty message with a header Status for
// a word of the server and never hands it out. A producer may publish such an event;
// it would come again for ever. And messages that a client has fetched, but not
// handled, wait for the whole AckWait when it stops: so only what fits the window is
// asked for, and what is not begun is given back.
//
// # Traps of JetStream
//
// Each was met with a real server (2.15):
//   - A server that was restarted, or became the leader of a consumer, counts AckWait
//     from when a message was stored, not from when it was handed out, unless the
//     delivery was reported in progress: that is replicated. It hands out all that is
//     older at once, to anybody. So what is older than a beat, by the server's clock,
//     is reported as it is received, and all that is held when a consumer is opened
//     again (beat.go). On a cluster a report is proposed when the leader hears it,
//     and an answer to it says nothing of the replicas: there is no way to wait until
//     it counts. What a leader hands out in its last moment can come twice.
//   - Delays of NAKs are replicated and survive an election; a NAK without one does
//     not, and its message comes after the AckWait. A consumer's BackOff ignores NAKs:
//     gateway/topology corrects one that has it.
//   - A message that was not reported in progress for an AckWait is somebody else's,
//     and NATS does not say so. It has lapsed (lapse.go): nothing is begun of it, and
//     it is not given back, which would take it from whoever has it.
//   - An ack on its way when the process ends is lost. [Intake.Flush] repeats the last
//     ack as a request: the server handles those of a connection in order.
//   - Beats into a connection that is lost fill its buffer within seconds, and then
//     acks are dropped: none is sent then, and those that fall into an outage stay due.
//   - On three replicas a server can answer one pull more than is waited for.
package intake
