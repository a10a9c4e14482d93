package subscriber

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"syscall"

	"code.dny.dev/ssrf"
)

// ErrBlocked means that the egress policy forbids the destination.
var ErrBlocked = errors.New("blocked by the egress policy")

// azureWireServer serves the metadata of a virtual machine on Azure. It is the
// one well-known metadata address that lies in public space, so no list of
// special-purpose ranges has it.
const azureWireServer = "168.63.129.16/32"

// Check reports whether attempts may reach addr, by https or by plain http. A
// nil error means yes; any other wraps [ErrBlocked] and says what would have to
// change.
//
// An address in a range of AllowCIDRs is allowed on the port of that entry.
// Every other address must be public, that is outside all special-purpose
// ranges that IANA lists, and its port must be one of Ports.
func (e Egress) Check(addr netip.AddrPort, https bool) error {
	if !https && !e.AllowHTTP {
		return fmt.Errorf("%w: plain http is not allowed: use https, or set egress.allow_http to true", ErrBlocked)
	}
	if !addr.IsValid() || addr.Port() == 0 {
		return fmt.Errorf("%w: %s is no destination", ErrBlocked, addr)
	}
	// The kernel connects to the IPv4 address that is inside a mapped one.
	ip, port := addr.Addr().Unmap(), addr.Port()
	for _, allowed := range e.AllowCIDRs {
		if allowed.Prefix.Contains(ip) && (allowed.Port == 0 || allowed.Port == port) {
			return nil
		}
	}
	guard := ssrf.New(ssrf.WithDeniedV4Prefixes(netip.MustParsePrefix(azureWireServer)))
	if guard.SafeAddr(ip) != nil {
		return fmt.Errorf("%w: %s is not a public address: to reach it, add its range to egress.allow_cidrs", ErrBlocked, ip)
	}
	if !slices.Contains(e.Ports, port) {
		return fmt.Errorf("%w: port %d is not in egress.ports, and %s not in a range of egress.allow_cidrs for that port",
			ErrBlocked, port, ip)
	}
	return nil
}

// Control returns a function for [net.Dialer.Control]. It applies [Egress.Check]
// to the address that is really dialled, after name resolution, and refuses the
// listeners given, which are Fanjet's own: a webhook must not drive the gateway
// that sends it. Whether http is allowed at all is settled when the
// configuration is loaded; a connection does not know its scheme.
func (e Egress) Control(refuse ...netip.AddrPort) func(network, address string, c syscall.RawConn) error {
	refuse = slices.Clone(refuse)
	return func(network, address string, _ syscall.RawConn) error {
		addr, err := netip.ParseAddrPort(address)
		if err != nil || !strings.HasPrefix(network, "tcp") {
			return fmt.Errorf("%w: %s %s is no destination", ErrBlocked, network, address)
		}
		if err := checkOwn(addr, refuse); err != nil {
			return err
		}
		return e.Check(addr, true)
	}
}

// checkOwn refuses addr if it leads to one of the listeners of Fanjet itself.
func checkOwn(addr netip.AddrPort, listeners []netip.AddrPort) error {
	for _, own := range listeners {
		if reaches(addr, own) {
			return fmt.Errorf("%w: %s is a listener of Fanjet itself", ErrBlocked, addr)
		}
	}
	return nil
}

// reaches reports whether a connection to addr arrives at listener.
func reaches(addr, listener netip.AddrPort) bool {
	if addr.Port() != listener.Port() {
		return false
	}
	ip, own := addr.Addr().Unmap(), listener.Addr().Unmap()
	// Dialling the unspecified address connects to this host, and a listener on
	// it accepts on every address of this host. Those of its interfaces are not
	// known here, so the loopback ones stand for all.
	if ip.IsUnspecified() || own.IsUnspecified() {
		return (ip.IsUnspecified() || ip.IsLoopback()) && (own.IsUnspecified() || own.IsLoopback())
	}
	return ip == own
}

// ParseAllowedNet reads an entry of AllowCIDRs: "10.0.0.0/8" for every port,
// "10.0.0.0/8:8080" for one; with IPv6 "fd00::/8" and "[fd00::/8]:8080". A
// single address stands for the range that holds only it.
func ParseAllowedNet(text string) (AllowedNet, error) {
	const want = `write a range such as "10.0.0.0/8", or with one port "10.0.0.0/8:8080" or "[fd00::/8]:8080"`
	host, portText, hasPort := text, "", false
	if inner, ok := strings.CutPrefix(text, "["); ok {
		if host, portText, hasPort = strings.Cut(inner, "]:"); !hasPort {
			host, ok = strings.CutSuffix(inner, "]")
			if !ok {
				return AllowedNet{}, errors.New(want)
			}
		}
	} else if strings.Count(text, ":") == 1 {
		host, portText, hasPort = strings.Cut(text, ":")
	}
	var allowed AllowedNet
	if hasPort {
		port, err := strconv.ParseUint(portText, 10, 16)
		if err != nil || port == 0 {
			return AllowedNet{}, errors.New("its port must be a number from 1 to 65535")
		}
		allowed.Port = uint16(port)
	}
	prefix, err := parsePrefix(host)
	if err != nil {
		return AllowedNet{}, errors.New(want)
	}
	if prefix.Masked() != prefix {
		return AllowedNet{}, fmt.Errorf("it has bits set outside its mask: write %s", prefix.Masked())
	}
	allowed.Prefix = prefix
	return allowed, nil
}

func parsePrefix(text string) (netip.Prefix, error) {
	prefix, err := netip.ParsePrefix(text)
	if addr, addrErr := netip.ParseAddr(text); addrErr == nil && addr.Zone() == "" {
		prefix, err = netip.PrefixFrom(addr, addr.BitLen()), nil
	}
	if err == nil && prefix.Addr().Is4In6() {
		err = errors.New("an IPv4 range must be written as such")
	}
	return prefix, err
}
