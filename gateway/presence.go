package gateway

import (
	"cmp"
	"encoding/json"
	"slices"
	"sync"
	"time"

	"github.com/nats-io/nats.go"

	"fanjet/internal/control"
	"fanjet/internal/wire"
)

const (
	aliveEvery = time.Second      // a gateway says that it lives; older ones every three
	aliveFor   = 10 * time.Second // that holds for operators; so long one counts that was killed
	liveFor    = 4 * time.Second  // and so long for those who share work with it
)

// presence knows which gateways of the installation live, so that an operator who
// asks all of them can tell whether all have answered. Nothing of it is stored:
// each says it to the others, on a plain subject. Its methods may be called
// concurrently.
type presence struct {
	nc    *nats.Conn
	names wire.Names
	self  control.Peer

	heard      chan *nats.Msg
	reconnects uint64 // of the connection, at the last beat

	mu    sync.Mutex
	peers map[string]heardPeer // the others
}

type heardPeer struct {
	control.Peer
	at time.Time
}

func newPresence(nc *nats.Conn, names wire.Names, self control.Replica) *presence {
	return &presence{
		nc: nc, names: names, self: control.Peer{ID: self.ID, Host: self.Host},
		heard: make(chan *nats.Msg, 256), peers: make(map[string]heardPeer),
	}
}

// othersLive reports whether another gateway said within the last seconds that it
// lives, and not that it ends. It is cheap: who moves events asks it many times a
// second.
func (p *presence) othersLive() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, peer := range p.peers {
		if time.Since(peer.at) < liveFor {
			return true
		}
	}
	return false
}

// known are the gateways that live, this one included, in order of hosts.
func (p *presence) known() []control.Peer {
	p.mu.Lock()
	defer p.mu.Unlock()
	all := []control.Peer{p.self}
	for id, peer := range p.peers {
		if time.Since(peer.at) > aliveFor {
			delete(p.peers, id)
			continue
		}
		all = append(all, peer.Peer)
	}
	slices.SortFunc(all, func(a, b control.Peer) int { return cmp.Or(cmp.Compare(a.Host, b.Host), cmp.Compare(a.ID, b.ID)) })
	return all
}

// say tells the others. One that hears nothing of it counts one gateway less or more
// for a moment.
func (p *presence) say(a control.Alive) {
	a.Peer = p.self
	if data, err := json.Marshal(a); err == nil {
		_ = p.nc.Publish(p.names.ControlAliveSubject(), data) // it fails on a connection that is lost, and is said again
	}
}

// hear takes up what another one said.
func (p *presence) hear(m *nats.Msg) {
	var a control.Alive
	if json.Unmarshal(m.Data, &a) != nil || a.ID == "" || a.ID == p.self.ID {
		return
	}
	p.mu.Lock()
	if a.Ends {
		delete(p.peers, a.ID)
	} else {
		p.peers[a.ID] = heardPeer{a.Peer, time.Now()}
	}
	p.mu.Unlock()
	if a.New {
		p.say(control.Alive{})
	}
}

// drain takes up all that was heard so far: what came before a question counts in its
// answer.
func (p *presence) drain() {
	for {
		select {
		case m := <-p.heard:
			p.hear(m)
		default:
			return
		}
	}
}

// beat says that this gateway lives. A gateway that was cut off may have missed that
// others came.
func (p *presence) beat() {
	now := p.nc.Stats().Reconnects
	p.say(control.Alive{New: now != p.reconnects})
	p.reconnects = now
}

// end says that it ends.
func (p *presence) end() {
	p.say(control.Alive{Ends: true})
	_ = p.nc.FlushTimeout(time.Second) // else it counts for ten seconds more
}
