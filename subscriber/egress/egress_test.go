package egress

import (
	"errors"
	"net/netip"
	"strings"
	"testing"
)

func allow(t *testing.T, entries ...string) []AllowedNet {
	t.Helper()
	var nets []AllowedNet
	for _, entry := range entries {
		allowed, err := ParseAllowedNet(entry)
		if err != nil {
			t.Fatalf("ParseAllowedNet(%q): %v", entry, err)
		}
		nets = append(nets, allowed)
	}
	return nets
}

func TestCheckPolicy(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name   string
		policy Policy
		addr   string
		http   bool
		want   string // in the message; empty: allowed
	}{
		{"public port", Policy{Ports: []uint16{443}}, "1.1.1.1:443", false, ""},
		{"other port", Policy{Ports: []uint16{443}}, "1.1.1.1:8443", false, "port 8443 is not in egress.ports"},
		{"second port", Policy{Ports: []uint16{443, 8443}}, "1.1.1.1:8443", false, ""},
		{"no ports", Policy{}, "1.1.1.1:443", false, "port 443 is not in egress.ports"},
		{"port 0", Policy{Ports: []uint16{0}}, "1.1.1.1:0", false, "no destination"},
		{"http refused", Policy{Ports: []uint16{80}}, "1.1.1.1:80", true, "egress.allow_http"},
		{"http allowed", Policy{Ports: []uint16{80}, AllowHTTP: true}, "1.1.1.1:80", true, ""},
		{"http to a listed range needs allow_http too", Policy{AllowCIDRs: allow(t, "10.0.0.0/8")}, "10.0.0.1:80", true, "egress.allow_http"},
		{"range, any port", Policy{AllowCIDRs: allow(t, "10.0.0.0/8")}, "10.0.0.1:9999", false, ""},
		{"range, its port", Policy{AllowCIDRs: allow(t, "10.0.0.0/8:8080")}, "10.0.0.1:8080", false, ""},
		{"range, other port", Policy{AllowCIDRs: allow(t, "10.0.0.0/8:8080"), Ports: []uint16{443}}, "10.0.0.1:443", false, "egress.allow_cidrs"},
		{"outside the range", Policy{AllowCIDRs: allow(t, "10.0.0.0/16")}, "10.1.0.1:443", false, "egress.allow_cidrs"},
		{"two entries", Policy{AllowCIDRs: allow(t, "10.0.0.0/8:1", "10.0.0.0/8:2")}, "10.0.0.1:2", false, ""},
		{"mapped address, v4 range", Policy{AllowCIDRs: allow(t, "127.0.0.0/8")}, "[::ffff:127.0.0.1]:9000", false, ""},
		{"v6 range", Policy{AllowCIDRs: allow(t, "fd00::/8")}, "[fd00::1]:9000", false, ""},
		{"v6 range with port", Policy{AllowCIDRs: allow(t, "[fd00::/8]:8080")}, "[fd00::1]:8080", false, ""},
		{"v6 range with other port", Policy{AllowCIDRs: allow(t, "[fd00::/8]:8080")}, "[fd00::1]:8081", false, "egress.allow_cidrs"},
		{"a v6 range says nothing about v4", Policy{AllowCIDRs: allow(t, "::/0"), Ports: []uint16{443}}, "10.0.0.1:443", false, "egress.allow_cidrs"},
		{"public range opens a port", Policy{AllowCIDRs: allow(t, "1.1.1.0/24:8443")}, "1.1.1.1:8443", false, ""},
		{"public range keeps egress.ports", Policy{AllowCIDRs: allow(t, "1.1.1.0/24:8443"), Ports: []uint16{443}}, "1.1.1.1:443", false, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			err := tt.policy.Check(netip.MustParseAddrPort(tt.addr), !tt.http)
			switch {
			case tt.want == "" && err != nil:
				t.Errorf("Check(%s) = %v, want nil", tt.addr, err)
			case tt.want != "" && (!errors.Is(err, ErrBlocked) || !strings.Contains(err.Error(), tt.want)):
				t.Errorf("Check(%s) = %v, want ErrBlocked with %q", tt.addr, err, tt.want)
			}
		})
	}
	if err := (Policy{Ports: []uint16{443}}).Check(netip.AddrPort{}, true); !errors.Is(err, ErrBlocked) {
		t.Errorf("Check of the zero address = %v, want ErrBlocked", err)
	}
}

func TestParseAllowedNet(t *testing.T) {
	t.Parallel()
	good := map[string]AllowedNet{
		"10.0.0.0/8":      {Prefix: netip.MustParsePrefix("10.0.0.0/8")},
		"10.0.0.0/8:8080": {Prefix: netip.MustParsePrefix("10.0.0.0/8"), Port: 8080},
		"127.0.0.1":       {Prefix: netip.MustParsePrefix("127.0.0.1/32")},
		"127.0.0.1:9000":  {Prefix: netip.MustParsePrefix("127.0.0.1/32"), Port: 9000},
		"fd00::/8":        {Prefix: netip.MustParsePrefix("fd00::/8")},
		"::1":             {Prefix: netip.MustParsePrefix("::1/128")},
		"[fd00::/8]":      {Prefix: netip.MustParsePrefix("fd00::/8")},
		"[fd00::/8]:8080": {Prefix: netip.MustParsePrefix("fd00::/8"), Port: 8080},
		"[::1]:65535":     {Prefix: netip.MustParsePrefix("::1/128"), Port: 65535},
		"0.0.0.0/0":       {Prefix: netip.MustParsePrefix("0.0.0.0/0")},
	}
	for text, want := range good {
		if got, err := ParseAllowedNet(text); err != nil || got != want {
			t.Errorf("ParseAllowedNet(%q) = %v, %v, want %v", text, got, err, want)
		}
	}
	for _, text := range []string{
		"", "localhost", "10.0.0.0/33", "10.0.0.0/8:0", "10.0.0.0/8:65536", "10.0.0.0/8:", "10.0.0.0/8:http", "10.0.0.1/8",
		"[fd00::/8", "[fd00::/8]:", "[fd00::/8]8080", "fd00::/8:8080", "fe80::1%eth0", "::ffff:10.0.0.0/104", "10.0.0.0/8 ",
	} {
		if got, err := ParseAllowedNet(text); err == nil {
			t.Errorf("ParseAllowedNet(%q) = %v, want an error", text, got)
		}
	}
}
