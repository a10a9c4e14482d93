// Package subscriber delivers to endpoints: it takes deliveries from JetStream,
// makes attempts, and settles each delivery as delivered, scheduled again, or
// dead-lettered.
//
// Guarantees:
//   - A delivery is acknowledged only after a 2xx response, or after JetStream
//     acknowledged what it became: the schedule of its next attempt, or a dead
//     letter. The same holds for the event of one that is made directly.
//   - It is in at most one attempt at a time, and only failures that are the
//     endpoint's count as attempts.
//   - An endpoint has no more attempts in flight than its max_in_flight.
//   - An endpoint that is down, slow, limited, paused or ordered is served from
//     a lane of its own, so that it holds up no other.
//
// # Direct delivery
//
// A matcher hands over most deliveries without having stored them ([Dispatcher.Offer]); its
// event is acknowledged when all of them are settled (package gateway/source says what it
// holds, and for how long).
//
//   - Offer never blocks. An endpoint takes what it serves within its patience, and nothing
//     while it has a lane, is slow, or had too many leases; the owner hears why, and stores
//     it. Only the room of the process (room.go, direct_review.go) makes a matcher wait, never
//     for the sake of one endpoint, and matchers of several sources in turn. The room is twice
//     the attempts in flight and a little.
//   - A direct delivery stands in the queue as any other, so slots, gate, fairness, patience,
//     pauses, reloads and removals act on it. Whoever takes it out without an attempt calls
//     [Owner.WriteDown], and who settles it [Owner.Settled]: one of the two, once. The owner
//     stores it with the id of the fan-out, and knows of the lane.
//   - A failed attempt publishes its schedule on the subject of its key, which must be empty:
//     one that is there means that the delivery has another life, and this one ends. So an
//     older gateway beside this one has no header to obey that it does not know. A final one
//     publishes its letter.
//   - Keys and headers are made when something is stored, and not for a 2xx.
//
// An attempt that hangs gets a lease (lease.go) when its event was held for long enough: a
// schedule of the same attempt, due after the attempt is over for sure. Then the event is
// settled. When the attempt ends, the lease is removed by its sequence, or replaced with its
// sequence as the last one that is expected of the subject. Never by a purge of the subject,
// which would take another life's schedule, and never before the lease is acknowledged. When
// the server says that the lease is not there any more it has fired, and what came of the
// attempt is dropped: the delivery goes on there. One that fires into the process that still
// makes its attempt waits for that result. The ids of the two differ, or the second would
// count as a duplicate. A lease has its own answer, and does not go through the publisher,
// behind thousands of schedules. Leases are dear, some 700 a second with a sync at each
// write, so a process takes 200 a second at most, and an endpoint that needs more than a few
// gets nothing directly for a while.
//
// While another gateway lives, a delivery that has waited for 20 ms is stored for whoever
// takes it: only the matcher's gateway can make it directly.
//
// # The fast lane, and who leaves it
//
// Healthy endpoints share one consumer, the fast lane: JetStream is fast with one,
// and slow with a thousand. What is in it must leave it soon, or the others wait and
// the log cannot be truncated. So an endpoint that cannot be served there gets a lane
// (package lanes). An endpoint leaves when
//   - its circuit is not closed, it refuses what it gets, it is paused, its rate limit
//     is used up, or it asked for a pause with Retry-After (package gate; seen at the
//     next delivery or result);
//   - one of its deliveries has waited 250 ms for a slot (fastlane.go, which looks
//     every 25 ms);
//   - it takes three quarters of what is read ahead, for half a second, while others
//     stand behind a backlog of more than two seconds (fastlane.go);
//   - it is ordered: its deliveries are never in the fast lane;
//   - it is not in the configuration: its lane is dead-lettered after the grace time;
//   - its lane has held something for three looks at the stream, and it is behind.
//
// A busy healthy endpoint does not leave. The fast lane reads ahead only what is
// attempted within 100 ms at the present rate, so a full window is no sign of trouble.
// The 250 ms are relative, as taken alone they would divert every endpoint when the
// machine is busy: they count only when the endpoint waits three times longer than the
// others or its attempts take more than 100 ms, when there are others at all, and when
// the process gets the processors that it asks for (pulse.go, from the scheduler's own
// latencies); else it is two seconds.
//
// What then waits for the endpoint in memory is diverted, many at a time: published to
// the lane, and acknowledged in the shared consumer when that is stored (divert.go).
// The matcher asks [Dispatcher.Laned] for every delivery and publishes straight to the
// lane. A lane that takes nothing, because it is full, makes the delivery a schedule
// that is no attempt: in the fast lane it would hold back the truncation.
//
// The slots of the process, 2,048, are shared out (slots.go): when they become scarce
// no endpoint gets more than its fair share.
//
// # An endpoint in doubt
//
// One whose circuit is not closed, or which refuses what it gets, is asked with care
// (doubt.go). A retry tells less than a delivery that was not tried yet, so the queue
// is not served in order then: the first fresh one goes, and if the window has none it
// grows. After n probes that were answered, and failed, 2ⁿ−1 fresh ones are passed
// over, 63 at most: a receiver that fails at some events is not held up by a row of
// them. What is too old is given up between a failed probe and the next one, never
// while one is due, which could be the one that gets through; and what was never
// attempted is attempted once, as long as the endpoint answers. Which statuses speak
// of the event, and not of the endpoint, is in package outcome (speaks.go); a hundred
// final answers in a row slow an endpoint down, and 410 three times in a row, with no
// more than ten minutes between two, pauses it (package gate).
//
// # An ordered endpoint
//
// The consumer of its lane has MaxAckPending 1, and the first delivery is retried in
// place (ordered.go). Its circuit never opens: the schedule of the first delivery is
// the probing. A replica that was cut off, or stopped, may hold the first of a line
// that is far ahead by now: before it tries a delivery again in place it looks at the
// ack floor of the lane.
//
// # What an attempt becomes
//
// A failure leaves as a message with a schedule, which holds no place in a consumer. A
// subject holds one schedule; a second replaces it, so the key is in the subject, and
// publishing a schedule twice is harmless. nats.go's option for schedules cuts
// fractions of a second off: schedule.go sets the header itself.
//
// A letter that NATS does not take, because the queue is full for example, waits as a
// schedule that already has the headers of a letter. When it fires, the letter is tried
// again and no attempt is made: the verdict stands. If the schedule is refused, too, a
// timer holds the delivery (letter.go).
//
// # Goroutines
//
// Attempts run in workers that are started when needed and end after ten idle seconds;
// there are never more than deliveries in the windows: 4,096 deliveries and 2,048 due
// retries, each at most 64 MiB, and of each lane that is pulled 512, or two of the
// largest size. A window that is full stops pulling; NATS keeps the rest.
package subscriber
