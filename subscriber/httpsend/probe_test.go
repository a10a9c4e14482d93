package httpsend

import (
	"context"
	"crypto/x509"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"fanjet/subscriber/egress"
	"fanjet/subscriber/outcome"
)

// A probe goes as far as an attempt would, and sends no request.
func TestProbe(t *testing.T) {
	t.Parallel()
	var requests atomic.Int64
	handler := http.HandlerFunc(func(http.ResponseWriter, *http.Request) { requests.Add(1) })
	plain := httptest.NewServer(handler)
	t.Cleanup(plain.Close)
	secure := httptest.NewUnstartedServer(handler)
	secure.Config.ErrorLog = log.New(io.Discard, "", 0) // of handshakes that we end
	secure.StartTLS()
	t.Cleanup(secure.Close)
	gone := httptest.NewServer(handler)
	gone.Close()
	roots := x509.NewCertPool()
	roots.AddCert(secure.Certificate())
	open := egress.Policy{AllowHTTP: true, AllowCIDRs: []egress.AllowedNet{{Prefix: netip.MustParsePrefix("127.0.0.0/8")}}}
	resolve := func(_ context.Context, host string) ([]netip.Addr, error) {
		return map[string][]netip.Addr{
			"example.com": {netip.MustParseAddr("127.0.0.1")},
			"mixed":       {netip.MustParseAddr("127.0.0.1"), netip.MustParseAddr("10.0.0.1")},
			"inside":      {netip.MustParseAddr("10.0.0.1"), netip.MustParseAddr("169.254.169.254")},
		}[host], nil
	}
	port := func(raw string) string { return raw[strings.LastIndexByte(raw, ':'):] }
	for _, tt := range []struct {
		name, url       string
		trusted         bool
		class           outcome.Class
		failure         string
		blocked, usable int // addresses
	}{
		{name: "plain", url: plain.URL, usable: 1},
		{name: "one address is blocked", url: "http://mixed" + port(plain.URL), usable: 1, blocked: 1},
		{name: "TLS", url: "https://example.com" + port(secure.URL), trusted: true, usable: 1},
		{name: "unknown authority", url: "https://example.com" + port(secure.URL), class: outcome.ClassTLS, failure: "unknown authority", usable: 1},
		{name: "wrong name", url: "https://mixed" + port(secure.URL), trusted: true, class: outcome.ClassTLS, failure: "not mixed", usable: 1, blocked: 1},
		{name: "no TLS there", url: "https://example.com" + port(plain.URL), class: outcome.ClassTLS, failure: "tls: ", usable: 1},
		{name: "nobody there", url: gone.URL, class: outcome.ClassConnect, failure: "refused", usable: 1},
		{name: "blocked", url: "http://inside:80/?token=secret", class: outcome.ClassBlocked, failure: "10.0.0.1", blocked: 2},
		{name: "no such name", url: "https://nowhere.invalid/?token=secret", class: outcome.ClassDNS, failure: "nowhere.invalid"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			target, err := url.Parse(tt.url)
			if err != nil {
				t.Fatal(err)
			}
			transport := newTransport(1, egress.New(open, egress.GuardOptions{Resolve: resolve}))
			if tt.trusted {
				transport.tls.RootCAs = roots
			}
			p := transport.probe(t.Context(), target)
			if p.Class != tt.class || !strings.Contains(p.Failure, tt.failure) || (p.Failure != "") != (tt.class != "") || strings.Contains(p.Failure, "secret") {
				t.Errorf("class %q, failure %q; want %q with %q", p.Class, p.Failure, tt.class, tt.failure)
			}
			blocked, usable := 0, 0
			for _, v := range p.Verdicts {
				if v.Err != nil {
					blocked++
				} else {
					usable++
				}
			}
			if blocked != tt.blocked || usable != tt.usable {
				t.Errorf("%d addresses blocked, %d usable; want %d and %d", blocked, usable, tt.blocked, tt.usable)
			}
			if verified := tt.trusted && tt.class == ""; verified != (p.TLS != "") || verified != p.NotAfter.After(time.Now()) {
				t.Errorf("TLS %q until %v", p.TLS, p.NotAfter)
			}
		})
	}
	t.Cleanup(func() {
		if n := requests.Load(); n > 0 {
			t.Errorf("%d requests were made", n)
		}
	})
}
