package gateway

import (
	"context"
	"net"
	"net/netip"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"fanjet/internal/broker"
	"fanjet/subscriber/egress"

	"github.com/nats-io/nats.go"
)

// ownAddrs knows which addresses no endpoint may have: those of the gateway's
// own listeners, and of the NATS servers.
type ownAddrs struct {
	listeners []netip.AddrPort
	servers   atomic.Pointer[[]netip.AddrPort] // of NATS, as found last
	resolve   func(ctx context.Context, host string) ([]netip.Addr, error)
}

// own is the answer for the egress policy. It may be called concurrently.
func (o *ownAddrs) own() egress.Own {
	return egress.Own{Machine: egress.MachineAddrs, Listeners: func() []netip.AddrPort {
		if servers := o.servers.Load(); servers != nil {
			return *servers
		}
		return o.listeners
	}}
}

// watch looks for the NATS servers now and then, until ctx ends: names may lead
// elsewhere, and a cluster may grow.
func (o *ownAddrs) watch(ctx context.Context, nc *nats.Conn) {
	const every = 30 * time.Second
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			o.look(ctx, nc)
		}
	}
}

// look finds the addresses of the servers of an external NATS: those that the
// configuration names, and those that the cluster has told of. A name that does
// not resolve for now keeps the addresses that it had.
func (o *ownAddrs) look(ctx context.Context, nc *nats.Conn) {
	ctx, cancel := context.WithTimeout(ctx, 3*time.Second)
	defer cancel()
	addresses := broker.Addresses(strings.Join(nc.Servers(), ","))
	if len(broker.Addresses(nc.ConnectedUrl())) > 0 { // it is no WebSocket
		addresses = append(addresses, nc.ConnectedAddr())
	}
	found := make(map[netip.AddrPort]bool)
	failed := false
	for _, address := range addresses {
		host, portText, err := net.SplitHostPort(address)
		if err != nil {
			continue // not connected
		}
		port, err := strconv.ParseUint(portText, 10, 16)
		if err != nil {
			continue
		}
		ips, err := o.resolve(ctx, host)
		if err != nil {
			failed = true
		}
		for _, ip := range ips {
			ip = ip.Unmap().WithZone("")
			found[netip.AddrPortFrom(ip, uint16(port))] = true
			if ip.IsLoopback() { // then it probably listens on every interface
				found[netip.AddrPortFrom(netip.IPv6Unspecified(), uint16(port))] = true
			}
		}
	}
	if before := o.servers.Load(); failed && before != nil {
		for _, addr := range *before {
			found[addr] = true
		}
	}
	all := append([]netip.AddrPort(nil), o.listeners...)
	for addr := range found {
		all = append(all, addr)
	}
	o.servers.Store(&all)
}
