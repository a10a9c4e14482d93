package egress

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// The second address is tried when the first one has failed or takes long, the
// connection that comes first is used, and no other one stays.
func TestDialAny(t *testing.T) {
	t.Parallel()
	v4, v4b, v6 := netip.MustParseAddrPort("1.1.1.1:1"), netip.MustParseAddrPort("1.1.1.2:1"), netip.MustParseAddrPort("[2a00::1]:1")
	refused := errors.New("refused")
	type how struct {
		after time.Duration
		err   error
	}
	for _, tt := range []struct {
		name  string
		addrs []netip.AddrPort
		how   map[netip.AddrPort]how
		won   netip.AddrPort
		after time.Duration
	}{
		{"first at once", []netip.AddrPort{v4, v6}, nil, v4, 0},
		{"first is refused", []netip.AddrPort{v4, v4b}, map[netip.AddrPort]how{v4: {0, refused}}, v4b, 0},
		{"families take turns", []netip.AddrPort{v4, v4b, v6}, map[netip.AddrPort]how{v4: {0, refused}}, v6, 0},
		{"first hangs", []netip.AddrPort{v6, v4}, map[netip.AddrPort]how{v6: {time.Hour, nil}}, v4, dialAhead},
		{"first is slow, and the second slower", []netip.AddrPort{v6, v4}, map[netip.AddrPort]how{v6: {2 * dialAhead, nil}, v4: {time.Minute, nil}}, v6, 2 * dialAhead},
		{"both come at once", []netip.AddrPort{v6, v4}, map[netip.AddrPort]how{v6: {2 * dialAhead, nil}, v4: {dialAhead, nil}}, netip.AddrPort{}, 2 * dialAhead},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var opened, closed atomic.Int32
				began := time.Now()
				c, err := dialAny(t.Context(), tt.addrs, func(ctx context.Context, addr netip.AddrPort) (net.Conn, error) {
					h := tt.how[addr]
					select {
					case <-time.After(h.after):
					case <-ctx.Done():
						return nil, ctx.Err()
					}
					if h.err != nil {
						return nil, h.err
					}
					opened.Add(1)
					return &countedClose{addr: addr, closed: &closed}, nil
				})
				if err != nil || time.Since(began) != tt.after {
					t.Fatalf("%v after %v, want %v", err, time.Since(began), tt.after)
				}
				if got := c.(*countedClose).addr; tt.won.IsValid() && got != tt.won {
					t.Errorf("connected to %s, want %s", got, tt.won)
				}
				synctest.Wait()
				if opened.Load()-closed.Load() != 1 {
					t.Errorf("%d connections were opened, %d closed", opened.Load(), closed.Load())
				}
			})
		})
	}
	first := errors.New("first")
	_, err := dialAny(t.Context(), []netip.AddrPort{v4, v6}, func(_ context.Context, addr netip.AddrPort) (net.Conn, error) {
		if addr == v4 {
			return nil, first
		}
		return nil, refused
	})
	if !errors.Is(err, first) {
		t.Errorf("dialAny = %v, want the error of the first address", err)
	}
}

func TestAlternate(t *testing.T) {
	t.Parallel()
	parse := func(list string) (out []netip.AddrPort) {
		for text := range strings.FieldsSeq(list) {
			out = append(out, netip.AddrPortFrom(netip.MustParseAddr(text), 1))
		}
		return out
	}
	for list, want := range map[string]string{
		"::1 ::2 ::3 1.1.1.1": "::1 1.1.1.1 ::2 ::3",
		"1.1.1.1 ::1 1.1.1.2": "1.1.1.1 ::1 1.1.1.2",
		"1.1.1.2 1.1.1.1":     "1.1.1.2 1.1.1.1",
	} {
		if got := alternate(parse(list)); !slices.Equal(got, parse(want)) {
			t.Errorf("alternate(%s) = %v, want %s", list, got, want)
		}
	}
}

type countedClose struct {
	net.Conn
	addr   netip.AddrPort
	closed *atomic.Int32
}

func (c *countedClose) Close() error { c.closed.Add(1); return nil }
