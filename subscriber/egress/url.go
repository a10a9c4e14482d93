package egress

import (
	"cmp"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"golang.org/x/net/idna"
)

// maxURL bounds the URL of an endpoint, in bytes.
const maxURL = 4096

// ParseURL reads the URL of an endpoint and refuses what can never be delivered
// to under policy, and the listeners of Fanjet itself in refuse. Host names are
// judged when they are dialled; an address in the URL, and localhost, are judged
// here. An international host name is turned into its ASCII form, and what may
// not stand in a path or a query is percent-encoded: see [encodeURL]. The errors
// say what to do and never repeat more of the URL than its host: it may hold a
// password or a token.
func ParseURL(text string, policy Policy, refuse ...netip.AddrPort) (*url.URL, error) {
	if len(text) > maxURL {
		return nil, fmt.Errorf("is longer than %d bytes", maxURL)
	}
	text, err := encodeURL(text)
	if err != nil {
		return nil, err
	}
	if len(text) > maxURL {
		return nil, fmt.Errorf("is longer than %d bytes, once percent-encoded", maxURL)
	}
	u, err := url.Parse(text)
	if err != nil {
		return nil, errors.New("is not a valid URL: write it as https://host/path, with a port from 1 to 65535 if it has one")
	}
	switch {
	case u.Scheme != "https" && u.Scheme != "http":
		return nil, errors.New("must begin with https:// or http://")
	case u.User != nil:
		return nil, errors.New("must not contain a user or password: receivers verify the signature; set a header if they need more")
	case u.Hostname() == "":
		return nil, errors.New("has no host: write it as https://host/path")
	case strings.Contains(text, "#"):
		return nil, errors.New("must not have a fragment (#…): it would never be sent")
	case u.Scheme == "http" && !policy.AllowHTTP:
		return nil, fmt.Errorf("%w: plain http is not allowed: use https, or set egress.allow_http to true", ErrBlocked)
	}
	port, err := portOf(u)
	if err != nil {
		return nil, err
	}
	own := Own{Listeners: func() []netip.AddrPort { return refuse }}
	check := func(ip netip.Addr) error {
		addr := netip.AddrPortFrom(ip, port)
		return cmp.Or(own.check(addr), policy.Check(addr, u.Scheme == "https"))
	}
	if err := readHost(u, text); err != nil {
		return nil, err
	}
	if err := checkHost(u.Hostname(), port, policy, check); err != nil {
		return nil, err
	}
	return u, nil
}

// readHost refuses a host of u, the URL that text is, that is neither an address
// nor a name, and gives an international name its ASCII form.
func readHost(u *url.URL, text string) error {
	host := u.Hostname()
	if addr, err := netip.ParseAddr(host); err == nil {
		if addr.Zone() != "" {
			return errors.New("has an IPv6 address with a zone (%…): zones mean something on one machine only")
		}
		return nil
	}
	if _, rest, _ := strings.Cut(text, "//"); strings.Contains(rest[:strings.IndexAny(rest+"/", "/?#")], "%") {
		return errors.New("has a host name with a % in it: write the characters themselves")
	}
	ascii, err := asciiName(host)
	if err != nil {
		return err
	}
	if port := u.Port(); port != "" {
		ascii += ":" + port
	}
	u.Host = ascii
	return nil
}

// asciiName returns the form of a host name that is looked up in the DNS.
func asciiName(host string) (string, error) {
	ascii := host
	international := strings.ContainsFunc(host, func(r rune) bool { return r >= utf8.RuneSelf }) ||
		strings.Contains("."+strings.ToLower(host), ".xn--")
	if international {
		var err error
		if ascii, err = idna.Lookup.ToASCII(host); err != nil {
			return "", errors.New("has a host name that is no valid international name (RFC 5891)")
		}
	}
	if err := checkHostName(strings.ToLower(strings.TrimSuffix(ascii, "."))); err != nil || !international {
		return ascii, err
	}
	// A character that only looks like another one must not pass for it.
	readable, err := idna.Lookup.ToUnicode(ascii)
	if lower := strings.ToLower(host); err != nil || lower != readable && lower != ascii {
		return "", fmt.Errorf("has a host name with characters that stand for others: it would be read as %s: write that if it is meant", ascii)
	}
	return ascii, nil
}

// portOf is the port that a URL leads to.
func portOf(u *url.URL) (uint16, error) {
	text := u.Port()
	switch {
	case strings.HasSuffix(u.Host, ":"):
		return 0, errors.New("has a colon but no port behind its host: remove it, or write the port")
	case text == "" && u.Scheme == "https":
		return 443, nil
	case text == "":
		return 80, nil
	}
	port, err := strconv.ParseUint(text, 10, 16)
	if err != nil || port == 0 {
		return 0, errors.New("has a port that is not from 1 to 65535")
	}
	return uint16(port), nil
}

// checkHost judges a host of a URL; check judges its address, if it is one.
func checkHost(host string, port uint16, policy Policy, check func(netip.Addr) error) error {
	if addr, err := netip.ParseAddr(host); err == nil {
		return check(addr)
	}
	name := strings.ToLower(strings.TrimSuffix(host, "."))
	if name == "localhost" || strings.HasSuffix(name, ".localhost") { // RFC 6761, section 6.3
		v4, v6 := check(netip.AddrFrom4([4]byte{127, 0, 0, 1})), check(netip.IPv6Loopback())
		if v4 != nil && v6 != nil {
			return v4
		}
		return nil
	}
	if !slices.Contains(policy.Ports, port) && !slices.ContainsFunc(policy.AllowCIDRs, func(allowed AllowedNet) bool {
		return allowed.Port == 0 || allowed.Port == port
	}) {
		return fmt.Errorf("%w: port %d is not in egress.ports, and no range of egress.allow_cidrs is open on it", ErrBlocked, port)
	}
	return nil
}

// checkHostName refuses what no DNS name can be, and the numbers that some
// resolvers take for an address: 2130706433, 0x7f.1 and the like.
func checkHostName(name string) error {
	if len(name) > 253 {
		return errors.New("has a host name of more than 253 characters")
	}
	var last string
	for label := range strings.SplitSeq(name, ".") {
		if label == "" || len(label) > 63 {
			return errors.New("has a host name with a part that is empty or longer than 63 characters")
		}
		for _, r := range label {
			if (r < 'a' || r > 'z') && (r < '0' || r > '9') && r != '-' && r != '_' {
				return fmt.Errorf("has a host name with %q in it, which no host name can have", r)
			}
		}
		last = label
	}
	digits := strings.TrimPrefix(last, "0x")
	if strings.Trim(digits, "0123456789") == "" || digits != last && strings.Trim(digits, "0123456789abcdef") == "" {
		return errors.New("has a number for a host: write an IPv4 address as four decimal numbers, such as 192.0.2.1")
	}
	return nil
}

// AddressOf is the host and port that a URL leads to.
func AddressOf(target *url.URL) string {
	port := target.Port()
	switch {
	case port != "":
	case target.Scheme == "https":
		port = "443"
	default:
		port = "80"
	}
	return net.JoinHostPort(target.Hostname(), port)
}
