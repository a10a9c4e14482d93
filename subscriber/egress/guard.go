package egress

import (
	"context"
	"crypto/x509"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// GuardOptions say what else than a policy a [Guard] goes by. The zero value is
// usable.
type GuardOptions struct {
	Own Own // what is refused under every policy
	// Resolve returns the addresses of a host name; nil means [Lookup].
	Resolve func(ctx context.Context, host string) ([]netip.Addr, error)
	// ProxyRoots are the authorities that an https proxy is trusted by; nil: the
	// system's.
	ProxyRoots *x509.CertPool
}

// Lookup asks the system's resolver for the addresses of a host name or address.
func Lookup(ctx context.Context, host string) ([]netip.Addr, error) {
	return net.DefaultResolver.LookupNetIP(ctx, "ip", host)
}

// Guard applies an egress policy: it resolves names, judges every address, and
// connects to those that are allowed and to no other. It does not change, and
// may be used concurrently. It reads nothing from the environment: HTTP_PROXY
// and the like have no effect.
type Guard struct {
	policy  Policy
	own     Own
	resolve func(ctx context.Context, host string) ([]netip.Addr, error)
	dialer  net.Dialer // to endpoints: checks once more what it dials
	proxy   *proxy     // nil: none
}

// New returns a guard for a policy.
func New(policy Policy, o GuardOptions) *Guard {
	g := &Guard{policy: policy, own: o.Own, resolve: o.Resolve}
	if g.resolve == nil {
		g.resolve = Lookup
	}
	g.dialer = net.Dialer{KeepAlive: 30 * time.Second, Control: g.control}
	if policy.Proxy.URL != nil {
		g.proxy = newProxy(policy.Proxy, o.ProxyRoots, g.lookup)
	}
	return g
}

// MaxConnectionAge is how old a connection may get under the policy; 0: any age.
func (g *Guard) MaxConnectionAge() time.Duration { return g.policy.MaxConnectionAge }

// Verdict is what the policy says about one address of an endpoint.
type Verdict struct {
	Addr netip.AddrPort
	Err  error // why it must not be reached, wrapping [ErrBlocked]; nil: it may
}

// Judge resolves the host of an endpoint's URL and returns a verdict for each
// of its addresses, in the order in which they would be tried. Nothing is
// connected to. The error says that the name, or that of the proxy, does not
// resolve; it may be a [*net.DNSError].
func (g *Guard) Judge(ctx context.Context, target *url.URL) ([]Verdict, error) {
	return g.judge(ctx, AddressOf(target), target.Scheme == "https")
}

// judge is Judge for a host and port.
func (g *Guard) judge(ctx context.Context, address string, https bool) ([]Verdict, error) {
	host, portText, err := net.SplitHostPort(address)
	if err != nil {
		return nil, err
	}
	port, err := strconv.ParseUint(portText, 10, 16)
	if err != nil {
		return nil, fmt.Errorf("the port %q is not a number from 1 to 65535", portText)
	}
	addrs, err := g.lookup(ctx, host)
	if err != nil {
		return nil, err
	}
	var proxies []netip.AddrPort
	if g.proxy != nil {
		if proxies, err = g.proxy.addrs(ctx); err != nil {
			return nil, err
		}
	}
	verdicts := make([]Verdict, len(addrs))
	for i, ip := range addrs {
		addr := netip.AddrPortFrom(ip, uint16(port))
		verdicts[i] = Verdict{Addr: addr, Err: g.check(addr, https, proxies)}
	}
	return verdicts, nil
}

// check judges one address. proxies are those of the proxy, which must not be
// asked to connect to itself.
func (g *Guard) check(addr netip.AddrPort, https bool, proxies []netip.AddrPort) error {
	if err := g.own.check(addr); err != nil {
		return err
	}
	if slices.Contains(proxies, addr) {
		return fmt.Errorf("%w: %s is the proxy of egress.proxy", ErrBlocked, addr)
	}
	return g.policy.Check(addr, https)
}

// control is for [net.Dialer.Control]: it sees the address that is really
// dialled. Whether http is allowed at all is settled before.
func (g *Guard) control(network, address string, _ syscall.RawConn) error {
	addr, err := netip.ParseAddrPort(address)
	if err != nil || !strings.HasPrefix(network, "tcp") {
		return fmt.Errorf("%w: %s %s is no destination", ErrBlocked, network, address)
	}
	return g.check(addr, true, nil)
}

// lookup returns the addresses of a host, which may be one itself.
func (g *Guard) lookup(ctx context.Context, host string) ([]netip.Addr, error) {
	if ip, err := netip.ParseAddr(host); err == nil {
		return []netip.Addr{ip.Unmap()}, nil
	}
	found, err := g.resolve(ctx, host)
	if err != nil {
		return nil, err
	}
	addrs := make([]netip.Addr, len(found))
	for i, ip := range found {
		addrs[i] = ip.Unmap()
	}
	if len(addrs) == 0 {
		return nil, &net.DNSError{Err: "no addresses", Name: host, IsNotFound: true}
	}
	return addrs, nil
}

// Bounds on a connection that is made, within the timeout of the attempt.
const (
	DialTimeout      = 10 * time.Second
	HandshakeTimeout = 10 * time.Second
)

// Dial connects to one of those addresses of a host and port that the policy allows,
// through the proxy if there is one. If it allows none the error wraps
// [ErrBlocked], and not a byte was sent; that some are blocked is no error.
func (g *Guard) Dial(ctx context.Context, address string, https bool) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, DialTimeout)
	defer cancel()
	verdicts, err := g.judge(ctx, address, https)
	if err != nil {
		return nil, &net.OpError{Op: "dial", Net: "tcp", Err: err}
	}
	var allowed []netip.AddrPort
	for _, v := range verdicts {
		if v.Err == nil {
			allowed = append(allowed, v.Addr)
		}
	}
	switch {
	case len(allowed) == 0:
		return nil, blocked(verdicts)
	case g.proxy != nil:
		return g.proxy.dial(ctx, allowed)
	}
	return dialAny(ctx, allowed, func(ctx context.Context, addr netip.AddrPort) (net.Conn, error) {
		return g.dialer.DialContext(ctx, "tcp", addr.String())
	})
}

// blocked is the error for an endpoint of which no address is allowed.
func blocked(verdicts []Verdict) error {
	if len(verdicts) == 1 {
		return verdicts[0].Err
	}
	return fmt.Errorf("%w, as are the other addresses of this name (%d in all)", verdicts[0].Err, len(verdicts))
}
