package egress

import (
	"net/netip"
	"slices"
)

// metadataServices are where clouds hand out the metadata of a machine, and with
// it credentials, to whoever asks from that machine. A range that is opened for
// receivers must not open them by accident. Those at link-local addresses, which
// are most, are not listed: see [metadataService].
var metadataServices = [...]struct {
	at    netip.Prefix
	cloud string
}{
	{netip.MustParsePrefix("168.63.129.16/32"), "Azure"}, // in public space
	{netip.MustParsePrefix("100.100.100.200/32"), "Alibaba Cloud"},
	{netip.MustParsePrefix("fd00:100::100:200/128"), "Alibaba Cloud"},
	{netip.MustParsePrefix("192.0.0.192/32"), "Oracle Cloud"},
	{netip.MustParsePrefix("fd00:c1::a9fe:a9fe/128"), "Oracle Cloud"},
	{netip.MustParsePrefix("fd00:ec2::/32"), "AWS"}, // instances: ::254, pods: ::23
	{netip.MustParsePrefix("fd20:ce::254/128"), "Google Cloud"},
	{netip.MustParsePrefix("fd00:42::42/128"), "Scaleway"},
	{netip.MustParsePrefix("fd00:a9fe:a9fe::1/128"), "Akamai"},
}

// metadataService says what is at ip if clouds serve metadata there, else "".
// Every link-local address counts: most clouds use 169.254.169.254, others and
// their container services different ones of 169.254.0.0/16, and no receiver of
// webhooks is there.
func metadataService(ip netip.Addr) string {
	if ip.IsLinkLocalUnicast() {
		return "is link-local, where clouds serve the metadata of machines"
	}
	for _, service := range metadataServices {
		if service.at.Contains(ip) {
			return "serves the metadata of machines on " + service.cloud
		}
	}
	return ""
}

var (
	broadcast = netip.AddrFrom4([4]byte{255, 255, 255, 255})

	// Prefixes whose addresses carry an IPv4 address.
	nat64      = netip.MustParsePrefix("64:ff9b::/96")    // RFC 6052: of translators
	nat64Local = netip.MustParsePrefix("64:ff9b:1::/48")  // RFC 8215: of translators of one's own
	sixToFour  = netip.MustParsePrefix("2002::/16")       // RFC 3056
	teredo     = netip.MustParsePrefix("2001::/32")       // RFC 4380
	compatible = netip.MustParsePrefix("::/96")           // RFC 4291, section 2.5.5.1
	translated = netip.MustParsePrefix("::ffff:0:0:0/96") // RFC 2765
)

// embedded returns the IPv4 addresses to which an IPv6 address may lead through
// a translator or a tunnel. A mapped address is not among them: see
// [netip.Addr.Unmap].
func embedded(ip netip.Addr) []netip.Addr {
	if !ip.Is6() || ip.Is4In6() {
		return nil
	}
	b := ip.As16()
	v4 := func(at ...int) netip.Addr { return netip.AddrFrom4([4]byte{b[at[0]], b[at[1]], b[at[2]], b[at[3]]}) }
	var found []netip.Addr
	switch {
	case nat64.Contains(ip), translated.Contains(ip), compatible.Contains(ip) && ip != netip.IPv6Loopback() && !ip.IsUnspecified():
		found = append(found, v4(12, 13, 14, 15))
	case nat64Local.Contains(ip):
		// The length of the prefix that is in use there nobody can tell; byte 8
		// is skipped.
		found = append(found, v4(6, 7, 9, 10), v4(7, 9, 10, 11), v4(9, 10, 11, 12), v4(12, 13, 14, 15))
	case sixToFour.Contains(ip):
		found = append(found, v4(2, 3, 4, 5))
	case teredo.Contains(ip):
		found = append(found, v4(4, 5, 6, 7), netip.AddrFrom4([4]byte{^b[12], ^b[13], ^b[14], ^b[15]}))
	}
	// ISATAP (RFC 5214): an interface identifier under any prefix.
	if b[8]&^2 == 0 && slices.Equal(b[9:12], []byte{0, 0x5e, 0xfe}) {
		found = append(found, v4(12, 13, 14, 15))
	}
	return found
}
