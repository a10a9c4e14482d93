package subscriber

import (
	"context"
	"net"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"fanjet/internal/secret"
)

// resolving is an endpoint whose name has the addresses that resolve finds.
func resolving(t *testing.T, rawURL string, resolve func(context.Context, string) ([]netip.Addr, error)) *target {
	t.Helper()
	settings := DefaultEndpoint()
	settings.Name, settings.Secrets, settings.Timeout = "test", []secret.Value{secret.New(testSecret)}, 200*time.Millisecond
	settings.URL, _ = url.Parse(rawURL)
	ep, err := newTarget(settings, NewGuard(loopback, GuardOptions{Resolve: resolve}), "", nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(ep.closeIdle)
	return ep
}

// What a name server does ends within the timeout of the attempt.
func TestHostileDNS(t *testing.T) {
	t.Parallel()
	s := newRawReceiver(t, func(*rawReceiver, net.Conn) {}) // it hangs up at once
	name := strings.Replace(s.url(), "127.0.0.1", "receiver.example", 1)
	many := slices.Repeat([]netip.Addr{netip.MustParseAddr("127.0.0.2")}, 1000)
	for what, tt := range map[string]struct {
		resolve func(context.Context, string) ([]netip.Addr, error)
		want    Class
	}{
		"no such name": {func(_ context.Context, host string) ([]netip.Addr, error) {
			return nil, &net.DNSError{Err: "no such host", Name: host, IsNotFound: true}
		}, ClassDNS},
		"no addresses": {func(context.Context, string) ([]netip.Addr, error) { return nil, nil }, ClassDNS},
		"no answer": {func(ctx context.Context, _ string) ([]netip.Addr, error) {
			<-ctx.Done()
			return nil, ctx.Err()
		}, ClassTimeout},
		"1,000 addresses where nobody listens": {func(context.Context, string) ([]netip.Addr, error) { return many, nil }, ClassConnect},
		"1,000 addresses that are internal": {func(context.Context, string) ([]netip.Addr, error) {
			return slices.Repeat([]netip.Addr{netip.MustParseAddr("10.0.0.1")}, 1000), nil
		}, ClassBlocked},
		"an internal address among others": {func(context.Context, string) ([]netip.Addr, error) {
			return []netip.Addr{netip.MustParseAddr("169.254.169.254"), netip.MustParseAddr("127.0.0.1")}, nil
		}, ClassConnect},
	} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			r := try(t.Context(), resolving(t, name, tt.resolve), nil, nil)
			if r.Class != tt.want || r.Status != 0 {
				t.Errorf("%s: %s", r.Class, r.describe())
			}
			checkPlain(t, r.describe())
		})
	}
}

// Connections of HTTP/2 count among those that the process keeps, and those that
// are idle are closed when it keeps too many.
func TestIdleConnectionsOfHTTP2AreLimited(t *testing.T) {
	t.Parallel()
	limit := &idleLimit{max: 2}
	for range 5 {
		s, ep := newFrameReceiver(t, nil, func(f *frames) {
			for stream := f.request(); stream != 0; stream = f.request() {
				f.answer(stream, head204)
			}
		})
		ep.transport.idle.limit = limit
		for range 2 {
			if r := try(t.Context(), ep, nil, []byte("{}")); r.Class != Class2xx {
				t.Fatalf("%+v", r)
			}
		}
		if n := s.connections.Load(); n != 1 {
			t.Errorf("%d connections", n)
		}
	}
	deadline := time.After(2 * time.Minute)
	for limit.kept.Load() >= limit.max {
		select {
		case <-deadline:
			t.Fatalf("%d are kept", limit.kept.Load())
		case <-time.After(10 * time.Millisecond):
		}
	}
}
