// Package source takes the events of a source stream, in order, and makes a delivery for
// each endpoint that wants one: it hands it to the dispatcher, or publishes it.
//
// A [Matcher] acknowledges an event when each of its deliveries was accepted or is stored.
// The cursor (cursor.go) is a copy of how far that got, for the day when the server forgets;
// sequence.go keeps the order over takeovers, gaps.go and moved.go notice what left the
// stream and who moved the consumer.
//
// # Order, and who matches
//
// One client is pinned to the consumer fanjet-match, and takes over within about three
// seconds. The pin is no fence: a process that was stopped for a while still handles what
// it holds. The hop ids make that harmless. Two matchers that both work through the same
// events in order do no harm either: the earlier of two publishes of each counts, and the
// earlier of two orders is in order.
//
// A matcher that takes over can get newer events first. What a dead one held comes again
// after an AckWait, which is shorter than the time to lose the pin; but the server rotates
// its queue of redeliveries, so they come in any order. And a matcher that lives can lose
// its pin, too, in a restart of NATS for example, while its publishes are held. So the new
// one, which sees another pin id, gathers what it gets until all that is older is settled or
// in its own hands (sequence.go):
//   - It goes by the ack floor, and by the events that the stream has between that and its
//     own. Not by the number of pending ones: a leader that was just elected may answer 0
//     to everything, and a floor that is too low only makes it wait.
//   - When newer events fill the window, so that what is missing cannot come, it gives some
//     back.
//   - The id of the pin is the last value of its header: a producer may have stored one of
//     that name.
//
// A connection that breaks takes events with it, which come again behind newer ones: the
// same matcher then waits, too. Where order is promised, InOrder of internal/publish keeps
// one commit in flight.
//
// # Direct delivery
//
// A delivery that is not stored stands in the queue of its endpoint, and its event stands
// for it (package subscriber has the other half: who takes it, and leases). The invariant:
// an event is held a second at most, 100 ms once anything of it is stored, and no attempt
// begins on an event of which the server has heard nothing for nearly an AckWait.
//
//   - Offered (direct.go) is an event that comes for the first time, with no more deliveries
//     than a crash may repeat, fresh, small enough that a retry finds room. What is for a lane
//     is published before, so that an ordered endpoint does not wait for room. Room is asked
//     for once an event: it is the only thing that a matcher waits for, 250 ms at most, and
//     20 ms for a second after there was something for an ordered endpoint, or while another
//     gateway lives; then all of the event is stored.
//   - Settled (fanout.go) is an event when no delivery of it is left, whoever made the last
//     one. Room is given back only then: what a crash repeats is every delivery that was
//     accepted of an event that was not acknowledged.
//   - Held (held.go) are the events in between. One look every 25 ms has the dispatcher secure
//     those that are held for too long: what waits comes back, what is being attempted is
//     leased. When that fails, and events are held for two seconds, nothing is offered any
//     more. What comes back is published with the id that it would have had; one goroutine
//     does that, so that nobody who gives something back waits.
//   - Never given back while the process lives: a nak would repeat what was delivered of the
//     event. What cannot be published is tried again; an event that counts as somebody else's
//     is parked until it comes here again, or has not for so long that others must have it.
//     Its deliveries to ordered endpoints are published at once, or newer ones would overtake
//     them.
//   - The window follows how long events wait here: what is read too far ahead would be too
//     old to be offered.
//
// The ids of messages do not tell whether an event was handled before. A direct attempt that
// succeeded leaves nothing, and a server that is killed forgets the ids of what was removed.
// So the mark (mark.go), in the state bucket, is ahead of every event that is handled: who
// gets the events now claims it, and everything up to the mark, or up to the stream's end at
// the time if that is less, is handled as sent again, as is every event that NATS sent
// before. Such an event is stored, but for the deliveries whose retry subject holds a
// schedule or a lease, or whose retry came due a moment ago (fanOutAgain). Those are read at
// once when the mark is claimed (lives.go): a round trip for each of thousands of events
// would hold up a takeover. A write of the mark for each event would cost what direct
// delivery gains; steps that are too long would send everything through the log for minutes
// after each claim. While the mark is not claimed nothing is direct.
//
// A freeze: heartbeats stop, and the server gives the events to another gateway after an
// AckWait. Half a second before that nothing begins on them any more here, by the monotonic
// clock and the time of day, whatever is known of the pin; what waits is parked. Attempts
// that had begun are what can come twice. A kill: all that is held comes again, and what was
// accepted of it is repeated. A stop: what did not begin is stored, which takes NATS; without
// it the events go unsettled, and come again.
//
// # The cursor, and what the server may forget
//
// A consumer's state is written without a sync: a power cut can set it back to its
// beginning. The cursor says what was fanned out already, by sequence and stored time, as
// a stream that lost its end numbers other events as before. It is the ack floor that the
// server reports, never our own count: after a restart newer events may come first.
//   - A consumer may be past the end of a stream that lost its end, and would pass over new
//     events. A single server of 2.15 mends that at its start. When it opens, the matcher
//     compares cursor and consumer with the stream, drops a cursor whose event is another
//     one now, and makes the consumer anew.
//   - A forward reset of a consumer passes over what is stored, and reports an ack floor
//     behind it. Its numbers of deliveries begin anew, which gives it away: moved.go goes
//     back to the cursor, and the cursor follows a floor only as far as the matcher, or
//     those numbers, vouch for what is before it.
//   - A limits stream hands out what it still has, and says nothing of the rest. gaps.go
//     compares the numbers of deliveries with the sequences of events.
//   - A leader that has not caught up is no stream that lost its end.
//   - Messages of a source that are no events (schedules, delete markers) are told by what
//     the stream does, not by what a header says (nature.go).
package source
