package publish

import (
	"testing"
	"time"
)

// server is how long publishes take on a server, as it could be measured.
type server struct {
	single, each, batch, member time.Duration
}

func (s server) singles(n int) time.Duration { return s.single + time.Duration(n-1)*s.each }
func (s server) atomic(n int) time.Duration  { return s.batch + time.Duration(n)*s.member }

// publish chooses for n messages and learns from it, for so many rounds. Every
// third time something else keeps the machine busy for a while.
func (s server) publish(p *pace, n, rounds int, inOrder bool) {
	for i := range rounds {
		var stall time.Duration
		if i%3 == 0 {
			stall = 50 * time.Millisecond
		}
		count, batch := p.choose(n, inOrder)
		switch {
		case batch:
			p.observeBatch(count, s.atomic(count)+stall)
		case inOrder:
			for i := range count {
				if i > 0 {
					stall = 0
				}
				p.observeSingles(1, s.single+stall)
			}
		default:
			p.observeSingles(count, s.singles(count)+stall)
		}
	}
}

// prefers says how n messages go when neither way is only tried.
func (p pace) prefers(n int, inOrder bool) (count int, batch bool) {
	p.choices = tryEvery
	return p.choose(n, inOrder)
}

var (
	synced   = server{400 * time.Microsecond, 300 * time.Microsecond, 3500 * time.Microsecond, 45 * time.Microsecond}
	unsynced = server{100 * time.Microsecond, 20 * time.Microsecond, 3 * time.Millisecond, 50 * time.Microsecond}
	busy     = server{4 * time.Millisecond, 200 * time.Microsecond, 30 * time.Millisecond, 500 * time.Microsecond}
	far      = server{5 * time.Millisecond, 25 * time.Microsecond, 8 * time.Millisecond, 30 * time.Microsecond}
	hardDisk = server{9 * time.Millisecond, 8 * time.Millisecond, 60 * time.Millisecond, 60 * time.Microsecond}
)

func TestPaceChooses(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name    string
		server  server
		inOrder bool
		n       int
		batch   bool
	}{
		{"synced, few", synced, false, 6, false},
		{"synced, some", synced, false, 40, true},
		{"synced, many", synced, false, 1000, true},
		{"synced, few in order", synced, true, 6, false},
		{"synced, many in order", synced, true, 1000, true},
		{"not synced, few", unsynced, false, 6, false},
		{"not synced, some", unsynced, false, 100, false},
		{"not synced, many", unsynced, false, 1000, false},
		{"not synced, some in order", unsynced, true, 20, false},
		{"not synced, many in order", unsynced, true, 1000, true},
		{"not synced and busy, some", busy, false, 100, false},
		{"not synced and busy, many", busy, false, 1000, false},
		{"far away, few", far, false, 6, false},
		{"far away, many", far, false, 1000, false},
		{"far away, few in order", far, true, 6, true},
		{"hard disk, few", hardDisk, false, 3, false},
		{"hard disk, some", hardDisk, false, 40, true},
		{"hard disk, many", hardDisk, false, 1000, true},
	} {
		var p pace
		tt.server.publish(&p, 1, 20, tt.inOrder)
		tt.server.publish(&p, 60, 20, tt.inOrder)
		tt.server.publish(&p, 1000, 20, tt.inOrder)
		if _, batch := p.prefers(tt.n, tt.inOrder); batch != tt.batch {
			t.Errorf("%s: batch is %v; known is %+v", tt.name, batch, p)
		}
	}
}

// A server that is not known yet is tried both ways, singly with few messages.
func TestPaceBeginsCarefully(t *testing.T) {
	t.Parallel()
	var p pace
	for i := range 2 * tryFirst {
		count, batch := p.choose(1000, false)
		if batch {
			p.observeBatch(count, unsynced.atomic(count))
		} else {
			p.observeSingles(count, unsynced.singles(count))
		}
		if batch != (i%2 == 1) || i == 0 && count != smallSingles {
			t.Errorf("choice %d: %d messages, batch is %v", i, count, batch)
		}
	}
	if count, batch := p.choose(1000, false); batch || count != 1000 {
		t.Errorf("then %d messages, batch is %v", count, batch)
	}
}

func TestPaceOfAServerThatIsKnown(t *testing.T) {
	t.Parallel()
	p := pace{unsynced: true}
	for i := range 3 * tryEvery {
		if count, batch := p.choose(1000, false); count != 1000 || batch {
			t.Fatalf("choice %d: %d messages, batch is %v", i, count, batch)
		}
	}
	if _, batch := p.choose(1000, true); !batch {
		t.Error("many in order go one after the other")
	}
}

// A server that begins to sync, or ceases to, is noticed either way: the way
// that is not chosen is tried now and then.
func TestPaceFollowsTheServer(t *testing.T) {
	t.Parallel()
	var p pace
	for round, s := range []server{unsynced, synced, busy, synced, unsynced} {
		s.publish(&p, 1, 20, false)
		s.publish(&p, 1000, 6*tryEvery, false)
		if _, batch := p.prefers(500, false); batch != (s == synced) {
			t.Errorf("round %d: batch is %v; known is %+v", round, batch, p)
		}
	}
}
