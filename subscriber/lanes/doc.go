// Package lanes keeps the lanes of endpoints in JetStream, from which those are served that
// would hold up others: which lanes hold something, and which are pulled; what is settled in
// them is removed, and so are the consumers of those that are empty.
//
// What is done with a delivery it does not know. It asks the [Dispatcher].
//
// A lane is the subject fanjet.lane.<endpoint> and, while something is in it, a durable
// consumer of its own. Why an endpoint gets one is said in package subscriber.
//
// # Which lanes are pulled
//
// The truth about lanes is the stream. Every replica asks it once a second for the subjects
// below fanjet.lane. (lanes.go), and pulls those whose endpoints may be sent to: an open
// circuit's when its next probe is due, and then as little as finds a delivery that was not
// tried yet; none of a paused one. At most 128 are pulled at once, as JetStream's throughput
// falls with the number of active consumers; more take turns of two seconds, and one from
// which nothing comes makes room at once. How much of a lane is in memory depends on what
// its endpoint can take, 512 deliveries at most.
//
// # Truncating
//
// Each lane is truncated below the floor of its consumer (sweep.go). From 64 lanes on that is
// done together, in one purge up to the first delivery that is not settled (sweepall.go): at
// each purge the server counts anew what waits for every consumer of the stream, so with ten
// thousand lanes a purge of each takes minutes.
//
// At a purge the server forgets which messages were given back with a NAK, and sends them no
// sooner than after their AckWait. A lane that rests is truncated first, then what is held of
// it is given back, and then it is let be (lane.go). From 64 lanes on, when they are purged
// together, such a delivery may come ten seconds later. A consumer that is past the end of
// the stream, after a power cut, is made anew, and nothing is removed on its word.
//
// # Leaving
//
// An endpoint goes back to the fast lane when it has kept up for three seconds. Whatever its
// lane still holds then, or gets from another replica, is pulled beside. The consumer of a
// lane that is empty for two minutes is removed in three steps: it is paused, looked at once
// more, and removed only if nothing was handed out in between; an ack to a consumer that is
// gone would be lost. A consumer that somebody removed is made again as the lane is opened.
package lanes
