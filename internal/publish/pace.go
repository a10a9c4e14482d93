package publish

import "time"

// pace learns what a commit costs, and says whether a few messages are better
// published one by one. An atomic batch has a price of its own: the server
// makes a store for it, which takes it some milliseconds, as long as a handful
// of single messages that are synced, or dozens that are not.
type pace struct {
	single time.Duration // one message, acknowledged
	batch  time.Duration // a batch, beyond its messages
}

const (
	// perMessage is what a message adds to a batch.
	perMessage = 20 * time.Microsecond
	// maxSingles bounds how many go one by one, so that a larger batch now and
	// then keeps what is known about batches fresh.
	maxSingles = 64
	// smoothing is the weight of what was known, against 1 of what is new.
	smoothing = 7
)

func newPace() pace { return pace{single: 400 * time.Microsecond, batch: 3500 * time.Microsecond} }

// observe learns from n messages that were acknowledged after took.
func (p *pace) observe(n int, took time.Duration) {
	known := &p.single
	if n > 1 {
		known = &p.batch
		took = max(took-time.Duration(n)*perMessage, 0)
	}
	*known = (smoothing**known + took) / (smoothing + 1)
}

// oneByOne reports whether n messages are sooner stored one by one.
func (p *pace) oneByOne(n int) bool {
	return n > 1 && n <= maxSingles && time.Duration(n)*(p.single-perMessage) < p.batch
}
