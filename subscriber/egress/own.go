package egress

import (
	"fmt"
	"net"
	"net/netip"
	"slices"
)

// Own tells where Fanjet itself listens. No policy lets a webhook go there: it
// must not drive the gateway that sends it, nor the NATS below. The zero value
// has no listeners. Its functions may be called concurrently, and often.
type Own struct {
	// Listeners returns the addresses of the listeners that are known now; nil:
	// there are none.
	Listeners func() []netip.AddrPort
	// Machine returns the addresses of this machine, at which a listener on the
	// unspecified address can be reached; nil: only the loopback ones count.
	Machine func() ([]netip.Addr, error)
}

// MachineAddrs returns the addresses of the interfaces of this machine as they
// are now, for [Own].
func MachineAddrs() ([]netip.Addr, error) {
	interfaces, err := net.InterfaceAddrs()
	if err != nil {
		return nil, fmt.Errorf("the addresses of this machine are not known: %w", err)
	}
	var addrs []netip.Addr
	for _, i := range interfaces {
		if prefix, err := netip.ParsePrefix(i.String()); err == nil {
			addrs = append(addrs, prefix.Addr().Unmap().WithZone(""))
		}
	}
	return addrs, nil
}

// check refuses addr if a connection to it ends at a listener of Fanjet. When it
// cannot tell, it refuses.
func (o Own) check(addr netip.AddrPort) error {
	if o.Listeners == nil {
		return nil
	}
	ip := addr.Addr().Unmap().WithZone("")
	leadsTo := append(embedded(ip), ip)
	for _, listener := range o.Listeners() {
		if addr.Port() != listener.Port() {
			continue
		}
		for _, ip := range leadsTo {
			reaches, err := o.reaches(ip, listener.Addr().Unmap())
			if err != nil {
				return fmt.Errorf("%w: %s may be a listener of Fanjet itself or of its NATS: %w", ErrBlocked, addr, err)
			}
			if reaches {
				return fmt.Errorf("%w: %s is a listener of Fanjet itself or of its NATS", ErrBlocked, addr)
			}
		}
	}
	return nil
}

// reaches reports whether a connection to ip arrives at a listener on own.
func (o Own) reaches(ip, own netip.Addr) (bool, error) {
	switch {
	case ip == own:
		return true, nil
	case ip.IsUnspecified(): // dialling it connects to this machine
		return own.IsLoopback() || own.IsUnspecified(), nil
	case !own.IsUnspecified():
		return false, nil
	case ip.IsLoopback():
		return true, nil
	case o.Machine == nil:
		return false, nil
	}
	machine, err := o.Machine()
	return slices.Contains(machine, ip), err
}
