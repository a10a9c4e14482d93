package httpsend

import (
	"net/netip"
	"net/url"
	"testing"
	"time"

	"fanjet/subscriber/egress"
)

// ownListeners is what [Own] knows of a machine without interfaces.
func ownListeners(all ...netip.AddrPort) egress.Own {
	return egress.Own{Listeners: func() []netip.AddrPort { return all }}
}

// allowing reads entries of allow_cidrs.
func allowing(t *testing.T, entries ...string) (all []egress.AllowedNet) {
	t.Helper()
	for _, entry := range entries {
		one, err := egress.ParseAllowedNet(entry)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, one)
	}
	return all
}

// when is any time.
var when = time.Date(2026, 1, 1, 12, 0, 0, 0, time.UTC)

// parsed is a URL.
func parsed(t *testing.T, rawURL string) *url.URL {
	t.Helper()
	u, err := url.Parse(rawURL)
	if err != nil {
		t.Fatal(err)
	}
	return u
}
