// Package source takes the events of a source stream, in order, and publishes a delivery
// for each endpoint that wants one.
//
// A [Matcher] acknowledges an event when JetStream has acknowledged all of its deliveries.
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
