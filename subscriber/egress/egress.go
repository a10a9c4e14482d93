// Package egress decides where webhooks may go, and connects there: the policy, the
// address ranges that are never public, the operator's proxy, and the URL of an
// endpoint as it is read and sent.
//
// What is judged is the address that is dialled, after the name was resolved, for
// every connection: a name may lead elsewhere a moment later. Nothing is taken from the
// environment.
package egress

import (
	"errors"
	"fmt"
	"net/netip"
	"net/url"
	"slices"
	"time"

	"code.dny.dev/ssrf"

	"fanjet/internal/secret"
)

// ErrBlocked means that the egress policy forbids the destination.
var ErrBlocked = errors.New("blocked by the egress policy")

// How old the connections to endpoints get; see [Policy].
const (
	DefaultConnectionAge = 5 * time.Minute
	// MinConnectionAge keeps renewing from being most of what is done.
	MinConnectionAge = time.Second
	MaxConnectionAge = 24 * time.Hour
)

// Policy says which addresses attempts may reach. The zero value allows none.
type Policy struct {
	AllowHTTP  bool         // allow http:// besides https://
	AllowCIDRs []AllowedNet // special-purpose ranges that are allowed nevertheless
	// AllowMetadata are addresses of metadata services that AllowCIDRs may open;
	// without it, a range there opens everything in it but those.
	AllowMetadata []netip.Addr
	Ports         []uint16 // ports that are allowed outside AllowCIDRs
	Proxy         Proxy    // connects in our place; the zero value: there is none
	// MaxConnectionAge is how old connections get before others take their place, so
	// that a name that leads elsewhere and what is forbidden now take effect, also
	// with an endpoint that is never idle; 0: there is no limit.
	MaxConnectionAge time.Duration
}

// Proxy is an HTTP proxy that makes the connections to endpoints.
type Proxy struct {
	URL      *url.URL // see [ParseProxy]; nil: there is no proxy
	Username string   // for the proxy (RFC 7617); empty: it asks for none
	Password secret.Value
}

// AllowedNet is a range that attempts may reach although it is not public.
type AllowedNet struct {
	Prefix netip.Prefix
	Port   uint16 // 0: any port
}

func (n AllowedNet) covers(ip netip.Addr, port uint16) bool {
	return n.Prefix.Contains(ip) && (n.Port == 0 || n.Port == port)
}

// Check reports whether attempts may reach addr, by https or by plain http. A
// nil error means yes; any other wraps [ErrBlocked] and says what would have to
// change. It depends on nothing but its arguments.
//
// An address in a range of AllowCIDRs is allowed on the port of that entry,
// unless a cloud serves its metadata there, which AllowMetadata must name
// besides. Every other address must be public: an IPv4 address outside all
// special-purpose ranges, or an IPv6 address inside 2000::/3 and outside the
// special-purpose ranges there, all as IANA lists them. Its port must be one of
// Ports. An IPv6 address in which a translator would find an IPv4 address is
// refused for that one, too.
func (e Policy) Check(addr netip.AddrPort, https bool) error {
	if !https && !e.AllowHTTP {
		return fmt.Errorf("%w: plain http is not allowed: use https, or set egress.allow_http to true", ErrBlocked)
	}
	// The kernel connects to the IPv4 address that is inside a mapped one.
	ip, port := addr.Addr().Unmap(), addr.Port()
	if !ip.IsValid() || port == 0 || ip.Zone() != "" || ip.IsUnspecified() || ip.IsMulticast() || ip == broadcast {
		return fmt.Errorf("%w: %s is no destination", ErrBlocked, addr)
	}
	for _, inside := range append(embedded(ip), ip) {
		if service := metadataService(inside); service != "" && !slices.Contains(e.AllowMetadata, inside) {
			via := ""
			if inside != ip {
				via = ip.String() + " leads to "
				service = "which " + service
			}
			return fmt.Errorf("%w: %s%s %s: to reach it, name it in egress.allow_metadata, besides its range in egress.allow_cidrs",
				ErrBlocked, via, inside, service)
		}
	}
	if nat64.Contains(ip) { // RFC 6052: for addresses that are public themselves
		for _, inside := range embedded(ip) {
			if err := e.Check(netip.AddrPortFrom(inside, port), https); err != nil {
				return fmt.Errorf("%s leads to an IPv4 address: %w", ip, err)
			}
		}
	}
	for _, allowed := range e.AllowCIDRs {
		if allowed.covers(ip, port) {
			return nil
		}
	}
	if !isPublic(ip) {
		return fmt.Errorf("%w: %s is not a public address: to reach it, add its range to egress.allow_cidrs", ErrBlocked, ip)
	}
	if !slices.Contains(e.Ports, port) {
		return fmt.Errorf("%w: port %d is not in egress.ports, and %s not in a range of egress.allow_cidrs for that port",
			ErrBlocked, port, ip)
	}
	return nil
}

// isPublic reports whether ip, and any IPv4 address that it carries, is outside
// of all special-purpose ranges.
func isPublic(ip netip.Addr) bool {
	special := ssrf.New()
	return !slices.ContainsFunc(append(embedded(ip), ip), func(ip netip.Addr) bool { return special.SafeAddr(ip) != nil })
}
