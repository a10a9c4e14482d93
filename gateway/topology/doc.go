// Package topology is Fanjet's streams and consumers in JetStream: what they must be like,
// making them, and looking at those that are there.
//
// [Ensure] looks at all of them before it touches one. What can be adjusted is adjusted,
// what somebody must decide is refused with a remedy ([Refusal]). Streams of others are
// never changed, and no stream is ever deleted or made a second time: that would hide a
// loss. What of a stream is adjusted or refused is in review.go, of a consumer in consumer.go;
// ensure.go looks at the version of what is stored first.
//
// # The streams
//
//	stream             subjects                      retention
//	a source           as configured                 limits: max_age, max_bytes; DiscardNew
//	FANJET_DELIVERIES  fanjet.deliver.*              none; DiscardNew; truncated
//	FANJET_RETRIES     fanjet.retry.*.*, fanjet.due.* work queue, no limits
//	FANJET_LANES       fanjet.lane.*                 none; DiscardNew; truncated per lane
//	FANJET_DLQ         fanjet.dlq.*                  dead_letters; DiscardNew
//	FANJET_AUDIT       fanjet.audit.*.*              90 days, 64 MiB; DiscardOld; no deletes
//	KV_fanjet-state    $KV.fanjet-state.>            one value a key
//
// All are on disk. All but the last two take atomic batches, RETRIES schedules and rollups;
// the source, LANES, DLQ and AUDIT allow direct gets.
//
// The duplicates window is ten minutes for sources and dead letters, two between our own
// streams: an id takes some 126 bytes of the server's memory, so at 20,000 deliveries a
// second that is 0.3 GB instead of 1.5. Hops are repeated within seconds.
//
// # Why they are like that
//
// Each was met with a real server (2.15):
//   - The target of a schedule must be in the same stream, and a stream with schedules
//     cannot have DiscardNew. So retries have a stream of their own, without limits. No
//     consumer may cover the subjects of schedules: fanjet-due filters fanjet.due.*.
//   - DiscardOld with a limit drops events that nobody has read, without an error. So does a
//     limit per subject, even with DiscardNew, unless discard_new_per_subject is set. Such a
//     source is refused, and so is one with another retention than limits, or without acks.
//   - MaxDeliver parks a message in silence, and the floor moves past it. Ours is −1, and a
//     consumer with another is refused. BackOff ignores NAKs: one that has it is corrected.
//   - A consumer that was created by hand with DeliverNew reports a floor at the end.
//     [CheckConsumer] looks before every purge and before the cursor moves.
//   - A server of 2.15 caps a stream at 1,000 consumers by default; the lanes say more.
//   - What one stream takes over from another, as a mirror or an aggregate, is stored as it
//     is there: schedules and delete markers too, though its own configuration allows
//     neither (gateway/source, nature.go). A mirror of a stream with direct gets takes part
//     in them, and keeps what was removed: the dead letters may have none.
//   - An event of exactly max_payload has no room for our headers. Streams that we create
//     take events that are 32 KiB smaller; for others there are letters by reference.
//   - A stream or consumer that lost its end in a power cut can be behind a consumer of it:
//     pastend.go.
//   - The oldest server is 2.12.1: message ids inside an atomic batch came with it.
package topology
