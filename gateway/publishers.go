package gateway

import (
	"time"

	"fanjet/gateway/source"
	"fanjet/internal/publish"
)

// laneLinger is how long a delivery may wait for others that go to lanes: those endpoints
// are late anyway, and with fsync each write of their own would hold up the others.
const laneLinger = 100 * time.Millisecond

// publishers are those to Fanjet's own streams.
type publishers struct {
	deliveries, retries, dead *publish.Publisher

	// Of the lanes there are three: the dispatcher must never wait for a queue
	// that the matchers fill, and what must stay in order waits when the stream
	// is full.
	moves           *publish.Publisher // of the dispatcher
	routed, inOrder *publish.Publisher // of the matchers
}

// openPublishers opens them; close closes them.
func (g *Gateway) openPublishers(at link) *publishers {
	open := func(stream string, change func(*publish.Options)) *publish.Publisher {
		o := publish.Options{
			Conn: at.nc, Stream: stream, Log: g.log.Named("publish"),
			Unsynced: g.server != nil && g.config.NATS.Embedded.SyncInterval > 0,
		}
		change(&o)
		return publish.New(o)
	}
	waits := func(*publish.Options) {}
	fails := func(o *publish.Options) { o.FailWhenFull = true }
	// What waited here while the process stood still may have been delivered by others.
	fresh := func(o *publish.Options) {
		o.Fresh = func(done publish.Completion) bool {
			held, ok := done.(interface{ Lapsed() bool })
			return !ok || !held.Lapsed()
		}
	}
	return &publishers{
		deliveries: open(g.names.DeliveriesStream(), fresh),
		moves: open(g.names.LanesStream(), func(o *publish.Options) {
			o.FailWhenFull = true
			o.MaxQueue, o.MaxQueueBytes = 16_384, 256<<20 // more than its windows
		}),
		routed: open(g.names.LanesStream(), func(o *publish.Options) {
			fails(o)
			fresh(o)
			if !o.Unsynced {
				o.Linger, o.Hurries = laneLinger, source.Hurries
			}
		}),
		inOrder: open(g.names.LanesStream(), func(o *publish.Options) { o.InOrder = true }),
		retries: open(g.names.RetriesStream(), waits),
		dead:    open(g.names.DeadLettersStream(), fails),
	}
}

// close closes them, the latest first. Nobody uses them any more.
func (p *publishers) close() {
	for _, one := range []*publish.Publisher{p.dead, p.retries, p.inOrder, p.routed, p.moves, p.deliveries} {
		one.Close()
	}
}
