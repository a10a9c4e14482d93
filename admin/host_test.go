package admin

import (
	"net/netip"
	"strings"
	"testing"
)

// What is taken for a host is a name without a colon, or an IPv6 address, and says
// the same whatever port stands behind it.
func FuzzHostName(f *testing.F) {
	for _, seed := range []string{"localhost", "localhost:8422", "[::1]:80", "[::1", "a:b:c", "127.0.0.1:", ":", "[]:1", "[fe80::1%eth0]:80"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, header string) {
		host, ok := hostName(header)
		if !ok || host == "" {
			return
		}
		if strings.Contains(host, ":") {
			if addr, err := netip.ParseAddr(host); err != nil || !addr.Is6() {
				t.Fatalf("%q is taken for the host %q", header, host)
			}
			host = "[" + host + "]"
		}
		for _, port := range []string{"", ":1", ":65535"} {
			if again, ok := hostName(host + port); !ok || "["+again+"]" != host && again != host {
				t.Fatalf("%q of %q is taken for %q, %v", host+port, header, again, ok)
			}
		}
		if _, ok := hostName(host + ":65536"); ok {
			t.Fatalf("%q with an impossible port is taken", host)
		}
	})
}
