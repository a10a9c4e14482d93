// Package failpoint marks the places in the code at which a test lets the process
// die. In a release build [Hit] is empty and its calls compile to nothing.
//
// Built with the tag failpoint, a program kills itself with SIGKILL at the n-th
// hit of the point that the environment names:
//
//	FANJET_FAILPOINT=retry-stored:3 fanjet serve
package failpoint

// Point is a place in the code.
type Point string

// The points, in the order in which an event meets them. "Stored" means that
// JetStream has acknowledged it, and that what it was made from is not
// acknowledged yet.
const (
	EventFetched  Point = "event-fetched"  // an event has come from its source
	EventMatched  Point = "event-matched"  // it is known who gets it; nothing is published
	Enqueued      Point = "enqueued"       // one of the event's deliveries is with the publisher
	Publishing    Point = "publishing"     // one message of several is sent, the rest is not
	FanoutPartly  Point = "fanout-partly"  // one of the event's deliveries is stored, another is not
	FanoutStored  Point = "fanout-stored"  // all are stored
	MarkStored    Point = "mark-stored"    // up to where events of a source may have been handled
	CursorWritten Point = "cursor-written" // the copy of the ack floor is stored

	Offered       Point = "offered"        // a delivery was handed to its endpoint without being stored
	DirectSettled Point = "direct-settled" // one of several direct deliveries of an event is settled, another is not
	DirectFailed  Point = "direct-failed"  // a direct attempt failed; nothing is stored yet
	WrittenDown   Point = "written-down"   // a direct delivery that was not attempted is stored, its event is not acknowledged
	LeaseStored   Point = "lease-stored"   // an attempt that hangs is stored, its event is not acknowledged
	LeaseReplaced Point = "lease-replaced" // what it became is stored in its place
	LeaseDropped  Point = "lease-dropped"  // it was delivered, and is stored no more

	DeliveryFetched Point = "delivery-fetched" // a delivery has come from the log, a lane or the retries
	Attempting      Point = "attempting"       // the request is about to be sent
	RequestSent     Point = "request-sent"     // it is written; no answer was read
	Accepted        Point = "accepted"         // a 2xx was read
	RetryStored     Point = "retry-stored"
	HeadStored      Point = "head-stored" // the attempts of the first of an ordered line
	LetterStored    Point = "letter-stored"
	Diverting       Point = "diverting" // some of the deliveries that move to a lane are with the publisher
	LaneStored      Point = "lane-stored"
	Truncating      Point = "truncating" // the floor is known, nothing is purged
	Truncated       Point = "truncated"

	EndpointsReplaced Point = "endpoints-replaced" // in a reload: the new endpoints, and still the old subscriptions
	MatcherReplaced   Point = "matcher-replaced"   // in a reload: both are new; endpoints that go are still there

	ReplayStored Point = "replay-stored" // a letter is a delivery again, and still a letter
	DrainSynced  Point = "drain-synced"  // letters are in a file, and still in the queue
)
