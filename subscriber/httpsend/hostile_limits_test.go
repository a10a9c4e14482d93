package httpsend

import (
	"context"
	"net"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"fanjet/subscriber/egress"
	"fanjet/subscriber/outcome"
)

// resolving sends to a URL whose name has the addresses that resolve finds.
func resolving(t *testing.T, rawURL string, resolve func(context.Context, string) ([]netip.Addr, error)) *Sender {
	t.Helper()
	return testSenderBehind(t, rawURL, egress.New(loopback, egress.GuardOptions{Resolve: resolve}), func(o *Options) { o.Timeout = 200 * time.Millisecond })
}

// What a name server does ends within the timeout of the attempt.
func TestHostileDNS(t *testing.T) {
	t.Parallel()
	s := newRawReceiver(t, func(*rawReceiver, net.Conn) {}) // it hangs up at once
	name := strings.Replace(s.url(), "127.0.0.1", "receiver.example", 1)
	many := slices.Repeat([]netip.Addr{netip.MustParseAddr("127.0.0.2")}, 1000)
	for what, tt := range map[string]struct {
		resolve func(context.Context, string) ([]netip.Addr, error)
		want    outcome.Class
	}{
		"no such name": {func(_ context.Context, host string) ([]netip.Addr, error) {
			return nil, &net.DNSError{Err: "no such host", Name: host, IsNotFound: true}
		}, outcome.ClassDNS},
		"no addresses": {func(context.Context, string) ([]netip.Addr, error) { return nil, nil }, outcome.ClassDNS},
		"no answer": {func(ctx context.Context, _ string) ([]netip.Addr, error) {
			<-ctx.Done()
			return nil, ctx.Err()
		}, outcome.ClassTimeout},
		"1,000 addresses where nobody listens": {func(context.Context, string) ([]netip.Addr, error) { return many, nil }, outcome.ClassConnect},
		"1,000 addresses that are internal": {func(context.Context, string) ([]netip.Addr, error) {
			return slices.Repeat([]netip.Addr{netip.MustParseAddr("10.0.0.1")}, 1000), nil
		}, outcome.ClassBlocked},
		"an internal address among others": {func(context.Context, string) ([]netip.Addr, error) {
			return []netip.Addr{netip.MustParseAddr("169.254.169.254"), netip.MustParseAddr("127.0.0.1")}, nil
		}, outcome.ClassConnect},
	} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			r := try(t.Context(), resolving(t, name, tt.resolve), nil)
			if r.Class != tt.want || r.Status != 0 {
				t.Errorf("%s: %s", r.Class, r.Failure())
			}
			checkPlain(t, r.Failure())
		})
	}
}

// Idle connections of HTTP/2 count among those that the process keeps: no more are
// kept than it may have.
func TestIdleConnectionsOfHTTP2AreLimited(t *testing.T) {
	t.Parallel()
	limit := &IdleLimit{max: 2}
	for i := range 5 {
		s, sender := newFrameReceiver(t, nil, func(f *frames) {
			for stream := f.request(); stream != 0; stream = f.request() {
				f.answer(stream, head204)
			}
		}, func(o *Options) { o.Idle = limit })
		for range 2 {
			if r := try(t.Context(), sender, []byte("{}")); r.Class != outcome.Class2xx {
				t.Fatalf("%+v", r)
			}
		}
		want := map[bool]int32{true: 1, false: 2}[i < 2]
		if n := s.connections.Load(); n != want {
			t.Errorf("%d connections to receiver %d, want %d", n, i, want)
		}
	}
	if n := limit.kept.Load(); n != limit.max {
		t.Errorf("%d are kept", n)
	}
}
