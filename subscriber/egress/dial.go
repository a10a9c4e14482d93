package egress

import (
	"context"
	"net"
	"net/netip"
	"time"
)

// dialAhead is how long one address may take before the next one is tried beside
// it, as RFC 8305 recommends.
const dialAhead = 250 * time.Millisecond

// dialAny connects to one of several addresses, at least one. They are tried in
// their order, with the families taking turns; the next one begins when one has
// failed or takes long. The error is that of the first address.
func dialAny(ctx context.Context, addrs []netip.AddrPort, dial func(context.Context, netip.AddrPort) (net.Conn, error)) (net.Conn, error) {
	if len(addrs) == 1 {
		return dial(ctx, addrs[0])
	}
	addrs = alternate(addrs)
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	type outcome struct {
		conn net.Conn
		err  error
		of   int
	}
	outcomes := make(chan outcome, len(addrs))
	begun, running, first := 0, 0, error(nil)
	begin := func() {
		of := begun
		begun++
		running++
		go func() {
			conn, err := dial(ctx, addrs[of])
			outcomes <- outcome{conn, err, of}
		}()
	}
	begin()
	timer := time.NewTimer(dialAhead)
	defer timer.Stop()
	for running > 0 {
		select {
		case o := <-outcomes:
			running--
			if o.err == nil {
				if running > 0 {
					go closeLate(running, func() net.Conn { return (<-outcomes).conn })
				}
				return o.conn, nil
			}
			if o.of == 0 {
				first = o.err
			}
		case <-timer.C:
		}
		if begun < len(addrs) && ctx.Err() == nil {
			begin()
			timer.Reset(dialAhead)
		}
	}
	return nil, first
}

// closeLate closes the connections that came too late; next waits for one.
func closeLate(n int, next func() net.Conn) {
	for range n {
		if c := next(); c != nil {
			_ = c.Close()
		}
	}
}

// alternate orders addresses so that the families take turns, beginning with
// that of the first one.
func alternate(addrs []netip.AddrPort) []netip.AddrPort {
	var preferred, others []netip.AddrPort
	for _, a := range addrs {
		if a.Addr().Is4() == addrs[0].Addr().Is4() {
			preferred = append(preferred, a)
		} else {
			others = append(others, a)
		}
	}
	out := make([]netip.AddrPort, 0, len(addrs))
	for i := range max(len(preferred), len(others)) {
		if i < len(preferred) {
			out = append(out, preferred[i])
		}
		if i < len(others) {
			out = append(out, others[i])
		}
	}
	return out
}
