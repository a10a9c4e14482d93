// Package gateway is the running whole: it connects to NATS, keeps the streams
// and consumers in shape, matches events to endpoints, and has the subscriber
// package deliver them.
//
// # Start
//
// [New] checks what needs no NATS: it compiles the filters and binds the admin
// listener. [Gateway.Run] then
//
//  1. serves /livez, /readyz and /metrics;
//  2. locks the folder and starts the embedded server, if it is the one;
//  3. connects, and waits for a NATS that is away, with backoff;
//  4. checks the server's version and JetStream, and makes or checks streams and
//     consumers: what passes by itself is tried again, what somebody must mend ends
//     the start;
//  5. starts the publishers, the dispatcher, the truncation, the monitor, and a
//     matcher for each source; closes Started.
//
// # Stop
//
//  1. /readyz says "draining";
//  2. matchers and the dispatcher stop asking for messages and give back what they
//     have not begun;
//  3. a matcher waits for its commits, the dispatcher for its attempts, both up to
//     the grace time; attempts that still run are interrupted and given back. What was
//     given back of an event that is delivered directly its matcher stores, for which it
//     has five seconds more;
//  4. each makes sure that its acks have arrived; heartbeats go on until then, and
//     the cursor is written once more;
//  5. truncation and the monitor stop, publishers are closed, then the connection,
//     the embedded server, and last the admin listener.
//
// # Reload
//
// config.Watcher looks at every file and pattern that the latest load read and loads
// again when something differs and has come to rest. [Gateway.Reload] compares the
// new version with the one in force and changes the least, in an order in which no
// event goes to an endpoint that is not known: first the dispatcher learns the new
// endpoints and keeps those that go, then the matcher is swapped, then they go.
// Whatever fails changes nothing. What cannot change while running stays as it was at
// the start and is named in a warning. A stop waits for a reload that has begun, and
// after that none begins.
//
// # Nothing waits without an owner
//
// Wherever something waits, something wakes it, and something else notices when that
// does not happen. Every part reports to health.go, which is what /readyz shows. Who
// adds a place adds a line: what waits; what wakes it; who notices when nothing does.
//
//   - An event in its source, not handed out; the matcher's pull, all the time;
//     "source …" in readiness when a pull fails, stall.go when none comes,
//     fanjet_events_oldest_seconds, an error in the log at half of max_age
//     (backlog.go), canaries.
//   - An event in the matcher, for older ones or for its publishes; the ack floor
//     (package source, sequence.go, which asks again until it knows), the publisher;
//     the wait of sequence.go ends with a line in the log, "publishing to …".
//   - An event that waits for the mark of its source; the write of the mark, 5 s at most,
//     after which it goes through the log; a warning, and fanjet_stored_deliveries_total.
//   - A matcher, for room for direct deliveries; the end of any of their events, 250 ms at
//     most, after which they are stored; fanjet_stored_deliveries_total.
//   - An event that comes again, for what is stored of it; package source asks until NATS has
//     said it; a warning in the log, fanjet_events_oldest_seconds.
//   - An event that is held for its direct deliveries; the end of its attempts, and held.go,
//     which has stored what takes longer than a second; fanjet_events_held,
//     fanjet_events_oldest_seconds. The process dies: the AckWait of the event.
//   - A direct delivery that was given back, until it is stored; the publisher's answer, or,
//     parked because another gateway may have its event, the event as it comes again here;
//     after two AckWaits on a connection that stands others have it, and it is let go;
//     fanjet_events_oldest_seconds.
//   - A lease that NATS does not take, or does not take back; it is asked again every 250 ms;
//     a warning in the log, and after two seconds nothing is direct.
//   - A lease that is stored; the end of its attempt, which has a timeout; else it fires, as
//     a retry does; fanjet_leases_fired_total. One that fires here while the attempt is made
//     waits for that.
//   - A message in a publisher; its answer, the end of the connection, else a timeout
//     of 10 s, and it is sent again, for ever, with pauses of up to 2 s; "publishing
//     to …" in readiness.
//   - A delivery in the log, or a retry that is due, not handed out; the dispatcher's
//     pulls; "consumer …" in readiness, stall.go.
//   - A delivery in memory, for a slot; the end of an attempt, which has a timeout,
//     and the fast lane, which moves what waits too long; the process dies: its
//     AckWait, since heartbeats end.
//   - A delivery in a lane; package lanes asks the stream every second and pulls each
//     whose endpoint may be sent to; a warning when the stream does not answer,
//     fanjet_lanes_pending, `fanjet endpoints list`.
//   - … of an endpoint that is paused; an operator; the state "paused", with reason
//     and since.
//   - … of one whose circuit is open, that asked for a wait, or whose rate is spent;
//     the gate's timer, by the monotonic clock; the state, and its next.
//   - … of one that is not in the configuration; its name comes back, else the grace
//     time and a dead letter; a warning in the log.
//   - The first delivery of an ordered line, for its next attempt; a timer of the
//     process that holds it, which also reports it in progress, and when it is given
//     back the lane; the process dies: AckWait; after a step of the clock package
//     overdue.
//   - The line of an endpoint that became ordered, for older deliveries and for events
//     that a matcher holds; the look of package lanes, every second; a warning when
//     the log or a source does not answer, fanjet_lanes_pending.
//   - A line that stands (on_exhausted: block); an operator; the state "paused".
//   - What an attempt became, until it is stored; the publisher's answer, an error
//     gives the delivery back at once; "publishing to …".
//   - A dead letter that is not taken; a schedule that is no attempt, ten seconds
//     later, and if that is refused, too, a timer; an error in the log each time.
//   - A retry, for its time; the server's timer for schedules; package overdue, which
//     sets it anew 15 s late, fanjet_retry_overdue_seconds, after a minute readiness,
//     after another one a restart of the embedded server.
//   - … that was planned by a clock that was ahead; package overdue plans it anew.
//   - A delivery that was given back; the next pull. A purge may forget that: then
//     its AckWait; stall.go.
//   - A delivery whose process died; its AckWait, in the server, by its wall clock,
//     and package overdue if that was set back; fanjet_deliveries_pending.
//   - A retry that is settled and still stored, after a crash; nothing: leftovers.go
//     removes it. A work queue deletes a message at its ack, but the server writes
//     the two apart.
//   - Everything, for a store that has met an error; the embedded server's watch. A
//     server of others: its operator; "nats store" and "storage" in readiness.
//   - Everything, for NATS; the client, which reconnects for ever; "nats: not
//     connected", "nats connection".
//   - A dead letter; an operator; fanjet_dead_letters.
//
// A lost consumer is opened again by package intake, after a pause that grows to two
// seconds. A stream that is gone makes the gateway unready.
//
// # What the server does not say
//
// Each was met with a real server (2.15):
//   - The first error of a write is kept by the stream's store and returned for ever.
//     The server answers no publish to the stream then, and its information looks as
//     before; only a purge returns the error. storage.go purges a subject that no
//     stream has, every five seconds. It must be one that no consumer's filter
//     covers: a purge makes a consumer forget its naks.
//   - The ack floor can read lower after a crash. truncate.go takes what it reads,
//     after CheckConsumer of package topology: below the floor of a consumer that was
//     made by hand deliveries may wait.
//   - Schedules fire by the server's clock. Package servertime learns it from answers, the first
//     time before anything is delivered, and goes on by the monotonic clock. The
//     embedded server has the clock of this process: there the wall clock is taken, so
//     that no schedule is made by one clock and stored by another in the moment of a
//     step.
//   - After a kill -9 a work queue of one that is alone can keep a message that its
//     consumer has settled: it is never handed out again, and counts for ever
//     (leftovers.go).
//
// # Goroutines and memory
//
// Each goroutine has one owner that waits for it. For the process: one that receives
// and one that beats for each consumer, one a publisher and one that watches the
// connection for it, the truncation, the monitor, the watch for overdue retries and
// that for a clock set back, the watch of the embedded server's store, the watches for
// removed and for paused endpoints, the one that drops the metrics of removed ones,
// the answers to operators, the cursor of each source, two for the events that it holds. Those of attempts are said in
// packages subscriber and attempt.
//
// Memory is bounded by windows: 4,096 events a source, 64 MiB at most, those of the
// dispatcher, and 4,096 messages or 64 MiB in the queue of each publisher, 16,384 or
// 256 MiB in that of the moves to lanes, which must never be waited for.
package gateway
