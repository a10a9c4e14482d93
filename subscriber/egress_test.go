package subscriber

import (
	"errors"
	"net"
	"net/netip"
	"strconv"
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

// Every special-purpose range of IANA, with an address inside it.
func TestCheckSpecialRanges(t *testing.T) {
	t.Parallel()
	policy := Egress{Ports: []uint16{443}}
	blocked := map[string]string{
		"this network":               "0.1.2.3",
		"unspecified v4":             "0.0.0.0",
		"private 10":                 "10.20.30.40",
		"shared address space":       "100.64.0.1",
		"alibaba metadata":           "100.100.100.200",
		"loopback":                   "127.0.0.1",
		"loopback, far end":          "127.255.255.254",
		"link local":                 "169.254.1.1",
		"metadata":                   "169.254.169.254",
		"azure wire server":          "168.63.129.16",
		"private 172":                "172.16.0.1",
		"private 172, far end":       "172.31.255.255",
		"protocol assignments":       "192.0.0.1",
		"oracle metadata":            "192.0.0.192",
		"test-net-1":                 "192.0.2.1",
		"6to4 relay":                 "192.88.99.1",
		"private 192":                "192.168.1.1",
		"benchmarking":               "198.18.0.1",
		"test-net-2":                 "198.51.100.1",
		"test-net-3":                 "203.0.113.1",
		"multicast v4":               "224.0.0.1",
		"reserved":                   "240.0.0.1",
		"broadcast":                  "255.255.255.255",
		"unspecified v6":             "::",
		"loopback v6":                "::1",
		"mapped loopback":            "::ffff:127.0.0.1",
		"mapped private":             "::ffff:10.0.0.1",
		"mapped metadata":            "::ffff:169.254.169.254",
		"compatible loopback":        "::127.0.0.1",
		"nat64 of loopback":          "64:ff9b::7f00:1",
		"local nat64":                "64:ff9b:1::1",
		"discard only":               "100::1",
		"teredo":                     "2001::1",
		"orchid v2":                  "2001:20::1",
		"documentation v6":           "2001:db8::1",
		"6to4 of loopback":           "2002:7f00:1::1",
		"documentation v6, 3fff":     "3fff::1",
		"segment routing":            "5f00::1",
		"unique local":               "fd12:3456::1",
		"metadata v6 (unique local)": "fd00:ec2::254",
		"link local v6":              "fe80::1",
		"link local v6 with a zone":  "fe80::1%lo",
		"site local":                 "fec0::1",
		"multicast v6":               "ff02::1",
	}
	for name, text := range blocked {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			err := policy.Check(netip.AddrPortFrom(netip.MustParseAddr(text), 443), true)
			if !errors.Is(err, ErrBlocked) {
				t.Errorf("Check(%s) = %v, want ErrBlocked", text, err)
			}
		})
	}
	for _, text := range []string{
		"1.1.1.1", "8.8.8.8", "93.184.216.34", "172.15.255.255", "172.32.0.1", "168.63.129.17", "::ffff:8.8.8.8",
		"2606:4700::1111", "2a00:1450:4001::1",
	} {
		if err := policy.Check(netip.AddrPortFrom(netip.MustParseAddr(text), 443), true); err != nil {
			t.Errorf("Check(%s) = %v, want nil: the address is public", text, err)
		}
	}
}

func TestCheckPolicy(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name   string
		policy Egress
		addr   string
		http   bool
		want   string // in the message; empty: allowed
	}{
		{"public port", Egress{Ports: []uint16{443}}, "1.1.1.1:443", false, ""},
		{"other port", Egress{Ports: []uint16{443}}, "1.1.1.1:8443", false, "port 8443 is not in egress.ports"},
		{"second port", Egress{Ports: []uint16{443, 8443}}, "1.1.1.1:8443", false, ""},
		{"no ports", Egress{}, "1.1.1.1:443", false, "port 443 is not in egress.ports"},
		{"port 0", Egress{Ports: []uint16{0}}, "1.1.1.1:0", false, "no destination"},
		{"http refused", Egress{Ports: []uint16{80}}, "1.1.1.1:80", true, "egress.allow_http"},
		{"http allowed", Egress{Ports: []uint16{80}, AllowHTTP: true}, "1.1.1.1:80", true, ""},
		{"http to a listed range needs allow_http too", Egress{AllowCIDRs: allow(t, "10.0.0.0/8")}, "10.0.0.1:80", true, "egress.allow_http"},
		{"range, any port", Egress{AllowCIDRs: allow(t, "10.0.0.0/8")}, "10.0.0.1:9999", false, ""},
		{"range, its port", Egress{AllowCIDRs: allow(t, "10.0.0.0/8:8080")}, "10.0.0.1:8080", false, ""},
		{"range, other port", Egress{AllowCIDRs: allow(t, "10.0.0.0/8:8080"), Ports: []uint16{443}}, "10.0.0.1:443", false, "egress.allow_cidrs"},
		{"outside the range", Egress{AllowCIDRs: allow(t, "10.0.0.0/16")}, "10.1.0.1:443", false, "egress.allow_cidrs"},
		{"two entries", Egress{AllowCIDRs: allow(t, "10.0.0.0/8:1", "10.0.0.0/8:2")}, "10.0.0.1:2", false, ""},
		{"mapped address, v4 range", Egress{AllowCIDRs: allow(t, "127.0.0.0/8")}, "[::ffff:127.0.0.1]:9000", false, ""},
		{"v6 range", Egress{AllowCIDRs: allow(t, "fd00::/8")}, "[fd00::1]:9000", false, ""},
		{"v6 range with port", Egress{AllowCIDRs: allow(t, "[fd00::/8]:8080")}, "[fd00::1]:8080", false, ""},
		{"v6 range with other port", Egress{AllowCIDRs: allow(t, "[fd00::/8]:8080")}, "[fd00::1]:8081", false, "egress.allow_cidrs"},
		{"a v6 range says nothing about v4", Egress{AllowCIDRs: allow(t, "::/0"), Ports: []uint16{443}}, "10.0.0.1:443", false, "egress.allow_cidrs"},
		{"public range opens a port", Egress{AllowCIDRs: allow(t, "1.1.1.0/24:8443")}, "1.1.1.1:8443", false, ""},
		{"public range keeps egress.ports", Egress{AllowCIDRs: allow(t, "1.1.1.0/24:8443"), Ports: []uint16{443}}, "1.1.1.1:443", false, ""},
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
	if err := (Egress{Ports: []uint16{443}}).Check(netip.AddrPort{}, true); !errors.Is(err, ErrBlocked) {
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

// listening is what [Own] knows of a machine without interfaces.
func listening(listeners ...netip.AddrPort) Own {
	return Own{Listeners: func() []netip.AddrPort { return listeners }}
}

// The last check is made on the address that is dialled: a real dialer must fail
// before it connects, and succeed when the policy allows the listener.
func TestControl(t *testing.T) {
	t.Parallel()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = listener.Close() })
	own := netip.MustParseAddrPort(listener.Addr().String())
	port := own.Port()
	open := Egress{AllowCIDRs: allow(t, "0.0.0.0/0", "::/0")}

	tests := []struct {
		name   string
		policy Egress
		own    Own
		want   string
	}{
		{"not allowed", Egress{Ports: []uint16{port}}, Own{}, "not a public address"},
		{"allowed", open, Own{}, ""},
		{"own listener", open, listening(own), "a listener of Fanjet itself"},
		{"own listener on every address", open, listening(netip.AddrPortFrom(netip.IPv6Unspecified(), port)), "a listener of Fanjet itself"},
		{"own listener on another port", open, listening(netip.AddrPortFrom(own.Addr(), port^1)), ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			dialer := net.Dialer{Control: NewGuard(tt.policy, GuardOptions{Own: tt.own}).control}
			for _, host := range []string{"127.0.0.1", "localhost"} {
				conn, err := dialer.DialContext(t.Context(), "tcp4", net.JoinHostPort(host, strconv.Itoa(int(port))))
				switch {
				case tt.want == "" && err != nil:
					t.Errorf("dial %s: %v", host, err)
				case tt.want != "" && (!errors.Is(err, ErrBlocked) || !strings.Contains(err.Error(), tt.want)):
					t.Errorf("dial %s: %v, want ErrBlocked with %q", host, err, tt.want)
				}
				if conn != nil {
					_ = conn.Close()
				}
			}
		})
	}
	if err := NewGuard(open, GuardOptions{}).control("udp", "127.0.0.1:9000", nil); !errors.Is(err, ErrBlocked) {
		t.Errorf("control over udp = %v, want ErrBlocked", err)
	}
}
