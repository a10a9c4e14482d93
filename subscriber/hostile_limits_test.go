package subscriber

import (
	"context"
	"errors"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"os"
	"os/exec"
	"slices"
	"strings"
	"syscall"
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

const descriptorsVariable = "FANJET_TEST_DESCRIPTORS"

// When the process has no descriptors left that is not an endpoint's failure,
// whether they are missing for the connection or for the name.
func TestDescriptorsAreUsedUp(t *testing.T) {
	t.Parallel()
	if os.Getenv(descriptorsVariable) == "" {
		// In a process of its own: here other tests need theirs.
		cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestDescriptorsAreUsedUp$", "-test.v")
		cmd.Env = append(os.Environ(), descriptorsVariable+"=1")
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Errorf("%v: %s", err, out)
		}
		return
	}
	s := receiver(t, func(http.ResponseWriter, *http.Request) {})
	byAddress, byName := testEndpoint(t, s.URL, loopback), testEndpoint(t, "http://name.invalid", loopback)
	var files []*os.File
	limit := syscall.Rlimit{Cur: 64, Max: 64}
	if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		t.Fatal(err)
	}
	for {
		f, err := os.Open(os.DevNull)
		if err != nil {
			if !errors.Is(err, syscall.EMFILE) {
				t.Fatal(err)
			}
			break
		}
		files = append(files, f)
	}
	for _, ep := range []*target{byAddress, byName} {
		if r := try(t.Context(), ep, nil, nil); r.Class != ClassLocal {
			t.Errorf("%s: %s: %s", ep.URL.Host, r.Class, r.describe())
		}
	}
	for _, f := range files {
		_ = f.Close()
	}
	if r := try(t.Context(), byAddress, nil, nil); r.Class != Class2xx {
		t.Errorf("with descriptors: %+v", r)
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
	deadline := time.After(30 * time.Second)
	for limit.kept.Load() >= limit.max {
		select {
		case <-deadline:
			t.Fatalf("%d are kept", limit.kept.Load())
		case <-time.After(10 * time.Millisecond):
		}
	}
}
