package gateway

import (
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
)

const (
	// quietFor is for how long nothing may be refused until permissions count as
	// restored: whatever was refused is tried again within an AckWait.
	quietFor = 15 * time.Second
	// resubscribeAfter is how often a refused subscription is tried again.
	resubscribeAfter = 5 * time.Second
)

// permissions remembers what NATS does not allow. The server does so beside all
// requests: what was published, an acknowledgement for example, is simply gone,
// and a subscription hears nothing. Its methods may be called concurrently.
type permissions struct {
	mu           sync.Mutex
	refused      error // latest; nil: nothing was refused for a while
	at           time.Time
	subscription bool
	again        bool // the subscription was tried again
}

// observe hears an error of the connection.
func (p *permissions) observe(err error) {
	if !errors.Is(err, nats.ErrPermissionViolation) {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.refused, p.at, p.again = fmt.Errorf("NATS does not allow the user what is needed: %w", err), time.Now(), false
	p.subscription = strings.Contains(strings.ToLower(err.Error()), "for subscription")
}

// missing returns what is not allowed at a time, and whether subscriptions should
// be made anew: the server has dropped them, and does not say when it would take
// them again.
func (p *permissions) missing(now time.Time) (err error, resubscribe bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	limit := quietFor
	if p.subscription {
		limit = resubscribeAfter
	}
	switch {
	case p.refused == nil || now.Sub(p.at) <= limit:
	case p.subscription && !p.again:
		p.again, p.at = true, now
		return p.refused, true
	default:
		p.refused = nil
	}
	return p.refused, false
}
