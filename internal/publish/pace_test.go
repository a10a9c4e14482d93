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

// publish chooses for n messages and learns from it, for so many rounds.
func (s server) publish(p *pace, n, rounds int, inOrder bool) {
	for range rounds {
		count, batch := p.choose(n, inOrder)
		switch {
		case batch:
			p.observeBatch(count, s.atomic(count))
		case inOrder:
			for range count {
				p.observeSingles(1, s.single)
			}
		default:
			p.observeSingles(count, s.singles(count))
		}
	}
}

// prefers says how n messages go when neither way is only tried.
func (p pace) prefers(n int, inOrder bool) (count int, batch bool) {
	p.choices = firstTry
	return p.choose(n, inOrder)
}

var (
	synced   = server{400 * time.Microsecond, 300 * time.Microsecond, 3500 * time.Microsecond, 45 * time.Microsecond}
	unsynced = server{100 * time.Microsecond, 20 * time.Microsecond, 3 * time.Millisecond, 50 * time.Microsecond}
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
		{"synced, some", synced, false, 30, true},
		{"synced, many", synced, false, 1000, true},
		{"synced, few in order", synced, true, 6, false},
		{"synced, many in order", synced, true, 1000, true},
		{"not synced, few", unsynced, false, 6, false},
		{"not synced, some", unsynced, false, 100, false},
		{"not synced, many", unsynced, false, 1000, false},
		{"not synced, some in order", unsynced, true, 20, false},
		{"not synced, many in order", unsynced, true, 1000, true},
		{"far away, few", far, false, 6, false},
		{"far away, many", far, false, 1000, false},
		{"far away, few in order", far, true, 6, true},
		{"hard disk, few", hardDisk, false, 3, false},
		{"hard disk, some", hardDisk, false, 40, true},
	} {
		var p pace
		tt.server.publish(&p, 1, 20, tt.inOrder)
		tt.server.publish(&p, 30, 20, tt.inOrder)
		tt.server.publish(&p, 1000, 20, tt.inOrder)
		if _, batch := p.prefers(tt.n, tt.inOrder); batch != tt.batch {
			t.Errorf("%s: batch is %v; known is %+v", tt.name, batch, p)
		}
	}
}

// Of a server that is not known yet, a few messages show whether it syncs each.
func TestPaceBeginsWithFewSingles(t *testing.T) {
	t.Parallel()
	var p pace
	if count, batch := p.choose(1000, false); batch || count != smallSingles {
		t.Errorf("begins with %d messages, batch %v", count, batch)
	}
}

// Under load both ways take longer than is assumed: what was measured is not
// compared with what is assumed, but with the other way under the same load.
func TestPaceUnderLoad(t *testing.T) {
	t.Parallel()
	busy := server{4 * time.Millisecond, 200 * time.Microsecond, 30 * time.Millisecond, 500 * time.Microsecond}
	var p pace
	busy.publish(&p, 1000, 20, false)
	if _, batch := p.prefers(1000, false); batch {
		t.Errorf("prefers batches; known is %+v", p)
	}
}

// A server that begins to sync, or ceases to, is noticed either way: the way
// that is not chosen is tried now and then.
func TestPaceFollowsTheServer(t *testing.T) {
	t.Parallel()
	var p pace
	for round, s := range []server{unsynced, synced, unsynced, synced} {
		s.publish(&p, 1, 20, false)
		s.publish(&p, 1000, 12*tryEvery, false)
		if _, batch := p.prefers(500, false); batch != (s == synced) {
			t.Errorf("round %d: batch is %v; known is %+v", round, batch, p)
		}
	}
}

// One stall changes nothing.
func TestPaceForgetsAStall(t *testing.T) {
	t.Parallel()
	var p pace
	unsynced.publish(&p, 1, 20, false)
	unsynced.publish(&p, 1000, 20, false)
	p.observeSingles(1000, 3*time.Second)
	unsynced.publish(&p, 1000, 1, false)
	if count, batch := p.prefers(1000, false); batch || count != 1000 {
		t.Errorf("after a stall: %d messages, batch %v; known is %+v", count, batch, p)
	}
}
