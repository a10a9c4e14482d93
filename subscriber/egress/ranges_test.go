package egress

import (
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"testing"
)

// special is a range in which nothing is public, as the registries of IANA for
// special-purpose addresses (RFC 6890) and the RFCs named there have it.
type special struct {
	name, prefix string
	// What is right before and right behind it: "+" public, "-" not, "" nothing.
	before, behind string
}

var specialV4 = []special{
	{"this network (RFC 791)", "0.0.0.0/8", "", "+"},
	{"private use (RFC 1918)", "10.0.0.0/8", "+", "+"},
	{"shared address space (RFC 6598)", "100.64.0.0/10", "+", "+"},
	{"loopback (RFC 1122)", "127.0.0.0/8", "+", "+"},
	{"link-local (RFC 3927)", "169.254.0.0/16", "+", "+"},
	{"private use (RFC 1918)", "172.16.0.0/12", "+", "+"},
	{"protocol assignments (RFC 6890)", "192.0.0.0/24", "+", "+"},
	{"DS-Lite (RFC 7335)", "192.0.0.0/29", "+", "-"},
	{"dummy address (RFC 7600)", "192.0.0.8/32", "-", "-"},
	{"port control anycast (RFC 7723)", "192.0.0.9/32", "-", "-"},
	{"TURN anycast (RFC 8155)", "192.0.0.10/32", "-", "-"},
	{"NAT64 discovery (RFC 7050)", "192.0.0.170/31", "-", "-"},
	{"TEST-NET-1 (RFC 5737)", "192.0.2.0/24", "+", "+"},
	{"AS112 (RFC 7535)", "192.31.196.0/24", "+", "+"},
	{"AMT (RFC 7450)", "192.52.193.0/24", "+", "+"},
	{"6to4 relays (RFC 7526)", "192.88.99.0/24", "+", "+"},
	{"6a44 relays (RFC 6751)", "192.88.99.2/32", "-", "-"},
	{"private use (RFC 1918)", "192.168.0.0/16", "+", "+"},
	{"AS112 (RFC 7534)", "192.175.48.0/24", "+", "+"},
	{"benchmarking (RFC 2544)", "198.18.0.0/15", "+", "+"},
	{"TEST-NET-2 (RFC 5737)", "198.51.100.0/24", "+", "+"},
	{"TEST-NET-3 (RFC 5737)", "203.0.113.0/24", "+", "+"},
	{"multicast (RFC 5771)", "224.0.0.0/4", "+", "-"},
	{"reserved (RFC 1112)", "240.0.0.0/4", "-", ""},
	{"limited broadcast (RFC 8190)", "255.255.255.255/32", "-", ""},
	{"WireServer of Azure", "168.63.129.16/32", "+", "+"},
}

var specialV6 = []special{
	{"below the global unicast space", "::/3", "", "+"},
	{"above the global unicast space", "4000::/2", "+", "-"},
	{"unspecified (RFC 4291)", "::/128", "", "-"},
	{"loopback (RFC 4291)", "::1/128", "-", "-"},
	{"IPv4-compatible (RFC 4291)", "::/96", "", "-"},
	{"IPv4-translated (RFC 2765)", "::ffff:0:0:0/96", "-", "-"},
	{"translation (RFC 6052)", "64:ff9b::/96", "-", "-"},
	{"local translation (RFC 8215)", "64:ff9b:1::/48", "-", "-"},
	{"discard only (RFC 6666)", "100::/64", "-", "-"},
	{"dummy prefix (RFC 9780)", "100:0:0:1::/64", "-", "-"},
	{"protocol assignments (RFC 2928)", "2001::/23", "+", "+"},
	{"Teredo (RFC 4380)", "2001::/32", "+", "-"},
	{"port control anycast (RFC 7723)", "2001:1::1/128", "-", "-"},
	{"TURN anycast (RFC 8155)", "2001:1::2/128", "-", "-"},
	{"DNS-SD anycast (RFC 9665)", "2001:1::3/128", "-", "-"},
	{"benchmarking (RFC 5180)", "2001:2::/48", "-", "-"},
	{"AMT (RFC 7450)", "2001:3::/32", "-", "-"},
	{"AS112 (RFC 7535)", "2001:4:112::/48", "-", "-"},
	{"ORCHID (RFC 4843)", "2001:10::/28", "-", "-"},
	{"ORCHIDv2 (RFC 7343)", "2001:20::/28", "-", "-"},
	{"drone identifiers (RFC 9374)", "2001:30::/28", "-", "-"},
	{"documentation (RFC 3849)", "2001:db8::/32", "+", "+"},
	{"6to4 (RFC 3056)", "2002::/16", "+", "+"},
	{"AS112 (RFC 7534)", "2620:4f:8000::/48", "+", "+"},
	{"documentation (RFC 9637)", "3fff::/20", "+", "+"},
	{"segment routing (RFC 9602)", "5f00::/16", "-", "-"},
	{"unique local (RFC 4193)", "fc00::/7", "-", "-"},
	{"link-local (RFC 4291)", "fe80::/10", "-", "-"},
	{"site-local (RFC 3879)", "fec0::/10", "-", "-"},
	{"multicast (RFC 4291)", "ff00::/8", "-", ""},
}

// lastOf is the last address of a range.
func lastOf(p netip.Prefix) netip.Addr {
	b := p.Addr().AsSlice()
	for bit := p.Bits(); bit < len(b)*8; bit++ {
		b[bit/8] |= 0x80 >> (bit % 8)
	}
	last, _ := netip.AddrFromSlice(b)
	return last
}

// edges calls check with the first and last address of each range, and those
// next to it, and whether they are public.
func edges(ranges []special, check func(s special, ip netip.Addr, public bool)) {
	for _, s := range ranges {
		p := netip.MustParsePrefix(s.prefix)
		first, last := p.Addr(), lastOf(p)
		check(s, first, false)
		check(s, last, false)
		if s.before != "" {
			check(s, first.Prev(), s.before == "+")
		}
		if s.behind != "" {
			check(s, last.Next(), s.behind == "+")
		}
	}
}

func TestEdgesOfSpecialRanges(t *testing.T) {
	t.Parallel()
	policy := Policy{Ports: []uint16{443}}
	checked := 0
	check := func(s special, ip netip.Addr, public bool) {
		t.Helper()
		checked++
		err := policy.Check(netip.AddrPortFrom(ip, 443), true)
		if (err == nil) != public || err != nil && !errors.Is(err, ErrBlocked) {
			t.Errorf("%s, %s: Check(%s) = %v, want it allowed: %v", s.name, s.prefix, ip, err, public)
		}
	}
	edges(specialV6, check)
	edges(specialV4, func(s special, ip netip.Addr, public bool) {
		check(s, ip, public)
		// The kernel dials the address inside of a mapped one.
		check(s, netip.AddrFrom16(ip.As16()), public)
		// Whatever else carries it is never public.
		for _, carrier := range carriers {
			check(s, carrier.of(ip), false)
		}
	})
	if checked < 500 {
		t.Errorf("only %d addresses are checked", checked)
	}
}

// carriers are the forms of IPv6 addresses that lead to an IPv4 address.
var carriers = []struct {
	name string
	of   func(v4 netip.Addr) netip.Addr
}{
	{"compatible", func(v4 netip.Addr) netip.Addr { return carry("::", v4, 12, 13, 14, 15) }},
	{"translated", func(v4 netip.Addr) netip.Addr { return carry("::ffff:0:0:0", v4, 12, 13, 14, 15) }},
	{"NAT64", func(v4 netip.Addr) netip.Addr { return carry("64:ff9b::", v4, 12, 13, 14, 15) }},
	{"local NAT64 /48", func(v4 netip.Addr) netip.Addr { return carry("64:ff9b:1::", v4, 6, 7, 9, 10) }},
	{"local NAT64 /56", func(v4 netip.Addr) netip.Addr { return carry("64:ff9b:1:200::", v4, 7, 9, 10, 11) }},
	{"local NAT64 /64", func(v4 netip.Addr) netip.Addr { return carry("64:ff9b:1:2::", v4, 9, 10, 11, 12) }},
	{"local NAT64 /96", func(v4 netip.Addr) netip.Addr { return carry("64:ff9b:1:2::", v4, 12, 13, 14, 15) }},
	{"6to4", func(v4 netip.Addr) netip.Addr { return carry("2002::1", v4, 2, 3, 4, 5) }},
	{"Teredo server", func(v4 netip.Addr) netip.Addr { return carry("2001::1", v4, 4, 5, 6, 7) }},
	{"Teredo client", func(v4 netip.Addr) netip.Addr {
		b := v4.As4()
		return carry("2001::", netip.AddrFrom4([4]byte{^b[0], ^b[1], ^b[2], ^b[3]}), 12, 13, 14, 15)
	}},
}

func carry(prefix string, v4 netip.Addr, at ...int) netip.Addr {
	b, inside := netip.MustParseAddr(prefix).As16(), v4.As4()
	for i, to := range at {
		b[to] = inside[i]
	}
	return netip.AddrFrom16(b)
}

// An ISATAP address is in public space, so only what it carries tells.
func TestISATAP(t *testing.T) {
	t.Parallel()
	policy := Policy{Ports: []uint16{443}}
	edges(specialV4, func(s special, ip netip.Addr, public bool) {
		for _, prefix := range []string{"2a00::5efe:0:0", "2a00::200:5efe:0:0"} {
			tunnel := carry(prefix, ip, 12, 13, 14, 15)
			if err := policy.Check(netip.AddrPortFrom(tunnel, 443), true); (err == nil) != public {
				t.Errorf("%s: Check(%s) = %v, want it allowed: %v", s.name, tunnel, err, public)
			}
		}
	})
	if err := policy.Check(netip.MustParseAddrPort("[2a00::1:5efe:a00:1]:443"), true); err != nil {
		t.Errorf("no ISATAP: %v", err)
	}
}

// A range in allow_cidrs opens itself and nothing beside it, except for what is
// no destination at all, and for metadata services.
func TestEdgesOfAllowedRanges(t *testing.T) {
	t.Parallel()
	never := allow(t, "0.0.0.0", "::", "255.255.255.255", "224.0.0.0/4", "ff00::/8",
		"169.254.0.0/16", "fe80::/10", "168.63.129.16", "100.100.100.200", "192.0.0.192")
	for _, s := range append(append([]special(nil), specialV4...), specialV6...) {
		p := netip.MustParsePrefix(s.prefix)
		policy := Policy{AllowCIDRs: []AllowedNet{{Prefix: p, Port: 8080}}}
		reach := func(ip netip.Addr, port uint16) bool {
			return policy.Check(netip.AddrPortFrom(ip, port), true) == nil
		}
		for _, ip := range []netip.Addr{p.Addr(), lastOf(p)} {
			want := true
			for _, n := range never {
				want = want && !n.Prefix.Contains(ip)
			}
			if nat64.Contains(ip) { // what is behind it is not allowed
				want = false
			}
			if reach(ip, 8080) != want || reach(ip, 8081) {
				t.Errorf("%s, %s: %s is reached on 8080: %v, want %v; on 8081: %v", s.name, p, ip, reach(ip, 8080), want, reach(ip, 8081))
			}
		}
		for _, ip := range []netip.Addr{p.Addr().Prev(), lastOf(p).Next()} {
			if ip.IsValid() && reach(ip, 8080) {
				t.Errorf("%s, %s: %s beside it is reached", s.name, p, ip)
			}
		}
	}
}

var everything = []string{"0.0.0.0/0", "::/0"}

func TestMetadataServicesNeedTheirOwnWord(t *testing.T) {
	t.Parallel()
	open := Policy{AllowCIDRs: allow(t, everything...)}
	for _, tt := range []struct{ cloud, at string }{
		{"most clouds", "169.254.169.254"},
		{"AWS, tasks", "169.254.170.2"},
		{"AWS, pods", "169.254.170.23"},
		{"Tencent Cloud", "169.254.0.23"},
		{"Scaleway", "169.254.42.42"},
		{"first of the range", "169.254.0.0"},
		{"last of the range", "169.254.255.255"},
		{"Azure", "168.63.129.16"},
		{"Alibaba Cloud", "100.100.100.200"},
		{"Oracle Cloud Classic", "192.0.0.192"},
		{"AWS", "fd00:ec2::254"},
		{"AWS, pods", "fd00:ec2::23"},
		{"Google Cloud", "fd20:ce::254"},
		{"Oracle Cloud", "fd00:c1::a9fe:a9fe"},
		{"Alibaba Cloud", "fd00:100::100:200"},
		{"Scaleway", "fd00:42::42"},
		{"Akamai", "fd00:a9fe:a9fe::1"},
		{"OpenStack", "fe80::a9fe:a9fe"},
	} {
		ip := netip.MustParseAddr(tt.at)
		forms := map[string]netip.Addr{"itself": ip}
		if ip.Is4() {
			forms["mapped"] = netip.AddrFrom16(ip.As16())
			forms["ISATAP"] = carry("2a00::5efe:0:0", ip, 12, 13, 14, 15)
			for _, carrier := range carriers {
				forms[carrier.name] = carrier.of(ip)
			}
		}
		named := open
		named.AllowMetadata = []netip.Addr{ip}
		for form, addr := range forms {
			to := netip.AddrPortFrom(addr, 80)
			if err := open.Check(to, true); !errors.Is(err, ErrBlocked) || !strings.Contains(err.Error(), "egress.allow_metadata") {
				t.Errorf("%s, %s: Check(%s) = %v, want it blocked with the key that allows it", tt.cloud, form, addr, err)
			}
			// How a local translator reads its addresses is a guess: all must be named.
			if err := named.Check(to, true); err != nil && !strings.HasPrefix(form, "local NAT64") {
				t.Errorf("%s, %s: Check(%s) = %v although it is named", tt.cloud, form, addr, err)
			}
		}
		alone := Policy{AllowMetadata: []netip.Addr{ip}, Ports: []uint16{443}}
		if err := alone.Check(netip.AddrPortFrom(ip, 443), true); !errors.Is(err, ErrBlocked) && ip != netip.MustParseAddr("168.63.129.16") {
			t.Errorf("%s: Check(%s) = %v without a range in allow_cidrs", tt.cloud, ip, err)
		}
	}
	for _, beside := range []string{"169.253.255.255", "169.255.0.0", "168.63.129.15", "168.63.129.17", "100.100.100.199", "192.0.0.193", "fd00:ec1:ffff::1", "fd00:ec3::", "fd20:ce::255"} {
		if err := open.Check(netip.AddrPortFrom(netip.MustParseAddr(beside), 80), true); err != nil {
			t.Errorf("Check(%s) = %v, want nil: no metadata is there", beside, err)
		}
	}
}

// On a network of IPv6 only, the prefix of its translator opens what is public
// behind it, and what another entry allows.
func TestNAT64(t *testing.T) {
	t.Parallel()
	policy := Policy{AllowCIDRs: allow(t, "64:ff9b::/96", "10.1.0.0/16:8080"), Ports: []uint16{443}}
	for to, want := range map[string]bool{
		"[64:ff9b::808:808]:443": true, "[64:ff9b::808:808]:25": false, "[64:ff9b::a01:1]:8080": true, "[64:ff9b::a01:1]:443": false,
		"[64:ff9b::a02:1]:8080": false, "[64:ff9b::7f00:1]:443": false, "[64:ff9b::a9fe:a9fe]:443": false, "[64:ff9b::e000:1]:443": false,
	} {
		if err := policy.Check(netip.MustParseAddrPort(to), true); (err == nil) != want {
			t.Errorf("Check(%s) = %v, want it allowed: %v", to, err, want)
		}
	}
}

func TestNoDestination(t *testing.T) {
	t.Parallel()
	open := Policy{AllowCIDRs: allow(t, everything...), Ports: []uint16{443}}
	for _, addr := range []netip.AddrPort{
		{},
		netip.AddrPortFrom(netip.Addr{}, 443), netip.MustParseAddrPort("0.0.0.0:443"), netip.MustParseAddrPort("[::]:443"),
		netip.MustParseAddrPort("[::ffff:0.0.0.0]:443"), netip.MustParseAddrPort("255.255.255.255:443"), netip.MustParseAddrPort("224.0.0.1:443"),
		netip.MustParseAddrPort("239.255.255.255:443"), netip.MustParseAddrPort("[ff02::1]:443"), netip.MustParseAddrPort("1.1.1.1:0"),
		netip.MustParseAddrPort("[fe80::1%eth0]:443"), netip.MustParseAddrPort("[2a00::1%eth0]:443"),
	} {
		if err := open.Check(addr, true); !errors.Is(err, ErrBlocked) || !strings.Contains(err.Error(), "is no destination") {
			t.Errorf("Check(%s) = %v, want that it is no destination", addr, err)
		}
	}
}

func TestOwnListeners(t *testing.T) {
	t.Parallel()
	own := listening(
		netip.MustParseAddrPort("127.0.0.1:8422"), netip.MustParseAddrPort("0.0.0.0:4222"), netip.MustParseAddrPort("[::]:4223"),
		netip.MustParseAddrPort("192.0.2.7:4224"), netip.MustParseAddrPort("[2001:db8::7]:4225"),
	)
	own.Machine = func() ([]netip.Addr, error) {
		return []netip.Addr{netip.MustParseAddr("10.0.0.5"), netip.MustParseAddr("2a00::5"), netip.MustParseAddr("fe80::5")}, nil
	}
	for address, refused := range map[string]bool{
		"127.0.0.1:8422": true, "[::ffff:127.0.0.1]:8422": true, "127.0.0.2:8422": false, "127.0.0.1:8423": false, "10.0.0.5:8422": false,
		"0.0.0.0:8422": true, "[::]:8422": true, "[64:ff9b::7f00:1]:8422": true, "[2002:7f00:1::]:8422": true, // each leads to this machine
		"127.0.0.1:4222": true, "127.9.9.9:4222": true, "[::1]:4222": true, "10.0.0.5:4222": true, "[::ffff:10.0.0.5]:4222": true,
		"10.0.0.6:4222": false, "10.0.0.5:4221": false, "[2a00::5]:4222": true, "[2a00::6]:4222": false, "[fe80::5%eth0]:4222": true,
		"10.0.0.5:4223": true, "[2a00::5]:4223": true, "0.0.0.0:4223": true, "[64:ff9b::a00:5]:4223": true,
		"192.0.2.7:4224": true, "192.0.2.8:4224": false, "10.0.0.5:4224": false, "0.0.0.0:4224": false,
		"[2001:db8::7]:4225": true, "[2001:db8::8]:4225": false,
	} {
		if err := own.check(netip.MustParseAddrPort(address)); refused != errors.Is(err, ErrBlocked) {
			t.Errorf("check(%s) = %v, want it refused: %v", address, err, refused)
		}
	}
	own.Machine = func() ([]netip.Addr, error) { return nil, fmt.Errorf("no such luck") }
	if err := own.check(netip.MustParseAddrPort("10.0.0.9:4222")); !errors.Is(err, ErrBlocked) {
		t.Errorf("check = %v although the addresses of the machine are not known", err)
	}
	if err := own.check(netip.MustParseAddrPort("10.0.0.9:443")); err != nil {
		t.Errorf("check = %v for a port at which nobody listens", err)
	}
}

func TestMachineAddrs(t *testing.T) {
	t.Parallel()
	addrs, err := MachineAddrs()
	if err != nil {
		t.Fatal(err)
	}
	for _, a := range addrs {
		if a.IsLoopback() {
			return
		}
	}
	t.Errorf("%v has no loopback address", addrs)
}
