package egress

import (
	"net/netip"
	"strings"
	"testing"
)

// FuzzParseAllowedNet reads anything. What is accepted is a range in its plain
// form, which opens itself and, alone, nothing outside of itself.
func FuzzParseAllowedNet(f *testing.F) {
	for _, text := range []string{
		"10.0.0.0/8", "10.0.0.0/8:8080", "127.0.0.1", "127.0.0.1:9000", "fd00::/8", "[fd00::/8]", "[fd00::/8]:8080", "::1", "0.0.0.0/0", "::/0",
		"", "[", "]:", "[]:1", "10.0.0.1/8", "fe80::1%eth0", "[fe80::1%eth0]:1", "::ffff:10.0.0.0/104", "10.0.0.0/8:0", "10.0.0.0/8:65536", "10.0.0.0/+8", "010.0.0.0/8", "1.2.3.4:5:6",
	} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		got, err := ParseAllowedNet(text)
		if err != nil {
			return
		}
		p := got.Prefix
		if !p.IsValid() || p != p.Masked() || p.Addr().Zone() != "" || p.Addr().Is4In6() {
			t.Fatalf("ParseAllowedNet(%q) = %+v", text, got)
		}
		policy := Policy{AllowCIDRs: []AllowedNet{got}}
		port := got.Port
		if port == 0 {
			port = 1
		}
		for _, ip := range []netip.Addr{p.Addr().Prev(), lastOf(p).Next()} {
			if ip.IsValid() && policy.Check(netip.AddrPortFrom(ip, port), true) == nil {
				t.Errorf("%q opens %s, which is outside of it", text, ip)
			}
		}
		if got.Port != 0 && policy.Check(netip.AddrPortFrom(p.Addr(), got.Port^1), true) == nil {
			t.Errorf("%q opens another port", text)
		}
	})
}

// FuzzParseURL reads anything, under a policy that allows public addresses only.
// What is accepted has a host that is what the resolver and the receiver get: an
// address that the policy allows, or a name in ASCII.
func FuzzParseURL(f *testing.F) {
	for _, text := range []string{
		"https://example.com/hooks?a=b", "HTTPS://Example.COM", "https://1.1.1.1/", "https://[2606:4700::1111]/", "https://bücher.example/", "https://xn--bcher-kva.example./",
		"http://example.com/", "https://bob:pw@example.com/", "https://example.com/#x", "https://example.com:0/", "https://127.1/", "https://0x7f.1/", "https://017700000001/",
		"https://2130706433/", "https://127.0.0.1./", "https://[::ffff:127.0.0.1]/", "https://[fe80::1%25eth0]/", "https://１２７.０.０.１/", "https://①②⑦.⓪.⓪.①/", "https://ﬁnance.example/",
		"https://a。example/", "https://ex%61mple.com/", "https://b%C3%BCcher.example/", "https://localhost/", "https://a.localhost./", "https://xn--zzzzzzzz.example/", "https://a\u00adb.example",
		"https:/\\example.com", "https://example.com\\@127.0.0.1/", "https://example.com:443@127.0.0.1/", "https:// /", "https://[::1]:443:443/",
	} {
		f.Add(text)
	}
	policy := Policy{Ports: []uint16{443}}
	f.Fuzz(func(t *testing.T, text string) {
		u, err := ParseURL(text, policy)
		if err != nil {
			if strings.ContainsAny(err.Error(), "\n\r\x00") {
				t.Errorf("ParseURL(%q): a message of several lines: %q", text, err)
			}
			return
		}
		host := u.Hostname()
		if u.Scheme != "https" || u.User != nil || u.Fragment != "" || host == "" {
			t.Fatalf("ParseURL(%q) = %s", text, u)
		}
		if addr, err := netip.ParseAddr(host); err == nil {
			if err := policy.Check(netip.AddrPortFrom(addr, 443), true); err != nil {
				t.Errorf("ParseURL(%q) = %s, whose address is forbidden: %v", text, u, err)
			}
			return
		}
		if err := checkHostName(strings.ToLower(strings.TrimSuffix(host, "."))); err != nil {
			t.Errorf("ParseURL(%q) = %s, whose host %v", text, u, err)
		}
		again, err := ParseURL(u.String(), policy)
		if err != nil || again.Host != u.Host {
			t.Errorf("ParseURL(%q) = %s, which is read as %v, %v", text, u, again, err)
		}
	})
}
