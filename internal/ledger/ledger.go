// Package ledger is the account of what a gateway was given and what it did with
// it. On the one side stands every event that was published, with its PubAck; on
// the other every request that a receiver saw. [Ledger.Check] compares the two
// and says of every pair of an event and an endpoint whether the promise was
// kept: delivered, pending or dead-lettered, never lost, and nothing sent that
// nobody can explain.
//
// The package only counts. It knows neither NATS nor HTTP, and learns nothing
// from the code that it judges: who fills it in takes PubAcks from a NATS client,
// requests from a receiver, and verifies signatures with a library of somebody
// else.
//
// It is made for millions of pairs: an event takes about 200 bytes, a request 40.
package ledger

import (
	"crypto/sha256"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

// Hash identifies a body: the first half of its SHA-256.
type Hash [16]byte

// HashOf returns the hash of a body.
func HashOf(body []byte) Hash {
	sum := sha256.Sum256(body)
	return Hash(sum[:16])
}

// Event is what a producer published.
type Event struct {
	// ID is its webhook-id, if that is known. Empty: the first request tells it,
	// and no other event may have the same body.
	ID   string
	Body Hash

	Stream   string
	Sequence uint64 // 0: not known
	// Published is when it was given to NATS, which may have stored it long before
	// the PubAck came: that of a server that died comes with the next try. Zero:
	// as Accepted.
	Published time.Time
	// Accepted is when the PubAck came. Zero: the publish failed or got no answer.
	// The event may have been stored, so it may be delivered, but need not be.
	Accepted time.Time
	// Endpoints are those that must get it.
	Endpoints []string
	// Outcomes say what must become of it at some of them. Of the others any outcome
	// will do that keeps the promise.
	Outcomes map[string]Outcome
}

// Outcome is what became of an event at an endpoint: Accepted, or the reason of
// its dead letter.
type Outcome string

// Accepted means that the endpoint took the event, and that there is no letter.
const Accepted Outcome = "accepted"

// Request is what a receiver saw arrive.
type Request struct {
	Endpoint string
	ID       string // the webhook-id
	Body     Hash
	// Forged says why the signature is not valid, nil that it is.
	Forged  error
	Attempt int // the number in the request, from 1; 0: none
	Began   time.Time
	// Cut means that the connection broke before the body was complete.
	Cut bool
}

// Ledger collects what happened. Its methods may be called concurrently.
type Ledger struct {
	mu sync.Mutex

	names     []string // of endpoints and streams
	numbers   map[string]int32
	sets      [][]int32 // of endpoints, each sorted
	setNumber map[string]int32

	events []event
	byID   map[string]int32
	byBody map[Hash]int32

	requests []request
	strays   []stray
	faults   []Fault
	replays  map[pair][]int64 // when a letter became a delivery again, in ns
	ordered  map[int32]bool   // endpoints
	outcomes map[pair]Outcome // those that were foretold
}

type event struct {
	id       string
	body     Hash
	sequence uint64
	accepted int64 // ns, 0: perhaps never
	given    int64 // ns, when it was published; 0: not known
	stream   int32
	set      int32
}

type request struct {
	event    int32
	endpoint int32
	began    int64 // ns
	ended    int64 // ns; 0: not ended
	attempt  int32
	status   int16 // 0: no answer
	problem  problem
}

// pair is an event and an endpoint.
type pair struct{ event, endpoint int32 }

// stray is a request that belongs to no event.
type stray struct {
	Request
	problem problem
}

// problem is what is wrong with a request by itself.
type problem uint8

const (
	sound problem = iota
	forged
	unknownEvent
	changedBytes
	changedID
	wrongEndpoint
	cut
)

// New returns an empty ledger.
func New() *Ledger {
	return &Ledger{
		numbers: map[string]int32{}, setNumber: map[string]int32{},
		byID: map[string]int32{}, byBody: map[Hash]int32{},
		replays: map[pair][]int64{}, ordered: map[int32]bool{}, outcomes: map[pair]Outcome{},
	}
}

// Publish enters an event and returns its number. Enter it before it is
// published, or a request may come first; say with [Ledger.Accept] that the
// PubAck came. An error means that it could not be told from another event.
func (l *Ledger) Publish(e Event) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if _, known := l.byID[e.ID]; known && e.ID != "" {
		return 0, fmt.Errorf("there is an event %s already", e.ID)
	}
	_, known := l.byBody[e.Body]
	if known && e.ID == "" {
		return 0, fmt.Errorf("there is an event with the same body already, and this one has no id")
	}
	n := int32(len(l.events))
	if !known {
		l.byBody[e.Body] = n
	}
	if e.ID != "" {
		l.byID[e.ID] = n
	}
	l.events = append(l.events, event{
		id: e.ID, body: e.Body, sequence: e.Sequence, accepted: nanos(e.Accepted), given: nanos(e.Published),
		stream: l.number(e.Stream), set: l.set(e.Endpoints),
	})
	for endpoint, outcome := range e.Outcomes {
		l.outcomes[pair{n, l.number(endpoint)}] = outcome
	}
	return int(n), nil
}

// Accept enters the PubAck of an event: from then on it must arrive.
func (l *Ledger) Accept(event int, stream string, sequence uint64, at time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	e := &l.events[event]
	e.stream, e.sequence, e.accepted = l.number(stream), sequence, nanos(at)
}

// Begin enters a request and returns its number, for [Ledger.End].
func (l *Ledger) Begin(r Request) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	n, wrong := l.identify(&r)
	if n < 0 {
		l.strays = append(l.strays, stray{Request: r, problem: wrong})
		return -len(l.strays)
	}
	endpoint := l.number(r.Endpoint)
	if _, expected := slices.BinarySearch(l.sets[l.events[n].set], endpoint); !expected && wrong == sound {
		wrong = wrongEndpoint
	}
	l.requests = append(l.requests, request{
		event: n, endpoint: endpoint, began: nanos(r.Began), attempt: int32(r.Attempt), problem: wrong,
	})
	return len(l.requests) - 1
}

// identify finds the event of a request, -1 for none, and says what is wrong
// with the request.
func (l *Ledger) identify(r *Request) (int32, problem) {
	n, known := l.byID[r.ID]
	switch {
	case r.Cut && !known:
		return -1, cut
	case r.Cut:
		return n, cut
	case known && r.Forged != nil:
		return n, forged
	case known && l.events[n].body != r.Body:
		return n, changedBytes
	case known:
		return n, sound
	}
	n, known = l.byBody[r.Body]
	switch {
	case !known && r.Forged != nil:
		return -1, forged
	case !known:
		return -1, unknownEvent
	case r.Forged != nil:
		return n, forged
	case l.events[n].id != "" || r.ID == "":
		return n, changedID
	}
	l.events[n].id = r.ID
	l.byID[r.ID] = n
	return n, sound
}

// End enters the end of a request: the status that was answered, or 0 when no
// answer could be given. Whether the answer arrived nobody knows here.
func (l *Ledger) End(request, status int, at time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if request >= 0 {
		r := &l.requests[request]
		r.ended, r.status = nanos(at), int16(status)
	}
}

// Ordered says that an endpoint must accept its events for the first time in the
// order of their sequences.
func (l *Ledger) Ordered(endpoint string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.ordered[l.number(endpoint)] = true
}

// Replayed enters that a dead letter became a delivery again: what was given up
// may be sent once more.
func (l *Ledger) Replayed(letter Pair, at time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if p, ok := l.find(letter, l.bySource()); ok {
		l.replays[p] = append(l.replays[p], nanos(at))
	}
}

// number interns a name. The caller holds mu.
func (l *Ledger) number(name string) int32 {
	n, known := l.numbers[name]
	if !known {
		n = int32(len(l.names))
		l.names = append(l.names, name)
		l.numbers[name] = n
	}
	return n
}

// set interns a set of endpoints. The caller holds mu.
func (l *Ledger) set(endpoints []string) int32 {
	members := make([]int32, 0, len(endpoints))
	for _, name := range endpoints {
		members = append(members, l.number(name))
	}
	slices.Sort(members)
	members = slices.Compact(members)
	var key strings.Builder
	for _, m := range members {
		key.WriteString(strconv.Itoa(int(m)))
		key.WriteByte(' ')
	}
	n, known := l.setNumber[key.String()]
	if !known {
		n = int32(len(l.sets))
		l.sets = append(l.sets, members)
		l.setNumber[key.String()] = n
	}
	return n
}

// nanos is 0 for the zero time.
func nanos(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixNano()
}
