// Package wire is what Fanjet's parts say to each other through JetStream: the
// names of streams, subjects and consumers, the internal headers, and the
// identity of events, deliveries and moved messages.
//
// Everything here is stored in users' streams. A change would make what an
// older version stored unreadable, or would give it a second identity. The tests
// fix every identity as a literal.
//
// # Identities
//
// A position is where a message is stored: stream, creation time of the stream,
// sequence, stored time ([Position]). The times tell two lives of one sequence
// apart, when a stream was created again or lost its tail in a power cut. Four
// identities are made here; every part that is hashed is preceded by its length:
//
//   - The webhook-id of an event, for receivers ([EventID], [SourcedEventID]): from
//     the CloudEvents source and id; else from the stream and the producer's
//     Nats-Msg-Id, in a stream that is filled from others together with the stream
//     and subject of origin; else from the position. With `identity: position`
//     always from the position. Nothing on our side is dropped because of it.
//   - The key of a delivery ([Key]), internal: from the kind ("event", or "letter"
//     for a replay), the position of that event or letter, and the endpoint.
//   - The Nats-Msg-Id of a hop ([Position.HopID], [Position.FanoutID]): it names
//     the message that is moved, not the event. With ids of the event, a letter
//     that is replayed and dies again within the duplicates window would be taken
//     for a duplicate, and vanish.
//   - The subject of a schedule ([Names.RetrySubject]): endpoint and key, so that a
//     second schedule of a delivery replaces the first.
//
// The Nats-Msg-Id of each hop:
//
//	fan-out       a source → DELIVERIES or LANES        <stream>/<sequence>/<stored, ns>/<endpoint>
//	              a source → DLQ                        the same
//	schedule      DELIVERIES, RETRIES, LANES → RETRIES  <stream>/<sequence>/<stored, ns>
//	              a source → RETRIES, direct            <id of the fan-out>/<attempt>
//	lease         a source → RETRIES                    <id of the fan-out>/lease
//	firing        fanjet.retry.… → fanjet.due.…         none: the server drops it
//	to a lane     DELIVERIES, RETRIES → LANES           <stream>/<sequence>/<stored, ns>
//	dead letter   DELIVERIES, RETRIES, LANES → DLQ      <stream>/<sequence>/<stored, ns>
//	replay        DLQ → DELIVERIES                      <stream>/<sequence>/<stored, ns>
//
// A schedule needs its id although its subject is unique: the subject replaces a
// second schedule only until the first has fired. After that, a schedule whose
// acknowledgement was lost gave the delivery a second life.
//
// A direct delivery was never stored, so its schedule has the id of its fan-out, with the
// number of the attempt that it is for; its letter has that of the fan-out alone. A lease, and the schedule that takes its place, need different ids, or the second
// would count as a duplicate. The first of them is stored only if its subject is empty.
//
// Ids tell duplicates within a stream only. What a crash leaves unsettled may go
// another way the second time: from the shared log to its endpoint while a copy
// waits in the lane, or from the source to the lane while a copy is in the log. So
// a crash can deliver an event twice that way, too.
//
// An id is known only while its message is stored, or its server lives: of what was
// removed, a server that is killed forgets it, whatever the duplicates window. So an event that may
// have been handled before is told by its place, not by the ids of its deliveries: the [Mark]
// of a source, in the state bucket, is raised before events are handled. Older programs pass
// it over, and what they store has the same ids.
//
// # Headers
//
// A delivery carries its state in headers ([Envelope]). URL, secrets and headers of
// the endpoint are not stored: they are looked up at the attempt. At every hop
// [EventHeaders] first removes all Nats-* and Fanjet-* headers of the message that
// is moved, in any spelling, then ours are set anew: a Nats-Expected-Stream that a
// producer stored would get every batch with it refused, and a producer must not
// steer a delivery. NATS looks headers up case-sensitively; what producers sent is
// found by [Header], in any spelling and by one rule, or the answer would depend on
// the order of a map.
//
// Fanjet-Accepted is set anew by a replay: the age of a replayed delivery counts
// from there. Fanjet-Reason and Fanjet-Attempts on a schedule are a verdict that
// travels: a letter that the dead-letter stream did not take. When it fires, the
// letter is tried again, and the endpoint hears nothing of it.
//
// # Versions
//
// [StoredWritten] is the version of what this program stores, [StoredRead] the
// newest that it reads; ARCHITECTURE.md has the table of versions. The number stands
// in the metadata of each of our own streams, that of the bucket among them, as
// fanjet.version whatever the prefix: so it goes along with a backup, a restored
// stream and an edit. A source has none, as it holds nothing of ours; a number in
// one is passed over. No number means 1, so while 1 is written no stream is touched,
// and no right to update one is needed. Otherwise a gateway raises a lower number
// when it starts, before anything is stored, and nobody lowers it.
//
// A number above StoredRead, or one that cannot be read, is refused in one sentence
// that names the streams ([NewerError]): by the start of `serve` before anything is
// changed, also where settings would differ; by `fanjet doctor`; by `dlq`,
// `endpoints` and `events skip` before they read or write (dlq.Open, a replay's look
// at the deliveries, control.OpenState). Letters are exported and drained as they
// are, so files have no number. A gateway that runs while another one raises the
// number goes on, is not ready, and says the same sentence there. It may not
// understand what it gets: hence two steps.
//
// To change what is stored in a way that the programs in use would not understand:
//
//  1. In one release, read the new form and raise StoredRead. It still stores the
//     old one.
//  2. In a later one, store it and raise StoredWritten. Gateways of the two work
//     beside each other, so an upgrade one after the other loses nothing; one that
//     passes over the first release has to stop all gateways.
//  3. Add a line to the table, and a fixture in gateway/testdata: a folder of the
//     embedded server with something in every place where anything can wait, which
//     TestStored opens and ends where it belongs, with the webhook-ids of then.
//     Fixtures are never made again. What is old is read for ever: letters, and
//     deliveries that wait for an operator, have no greatest age.
//
// What older programs may ignore needs no new number: another key in the bucket,
// another field in a value, a header that may be missing. An older gateway beside a
// newer one drops it from a delivery that fails there: what becomes of it gets the
// headers that it knows.
//
// Messages have no number of their own. It would say the same a thousand times a
// second, and be of no use: a gateway cannot leave a delivery that it does not
// understand to another one, as all share a consumer which hands it out again to
// anyone. The number says what may be found in a stream, not what every message in
// it is like; those of older versions tell themselves apart by their headers.
package wire
