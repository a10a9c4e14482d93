package egress

import (
	"errors"
	"net"
	"net/netip"
	"strconv"
	"strings"
	"testing"
)

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
	open := Policy{AllowCIDRs: allow(t, "0.0.0.0/0", "::/0")}

	tests := []struct {
		name   string
		policy Policy
		own    Own
		want   string
	}{
		{"not allowed", Policy{Ports: []uint16{port}}, Own{}, "not a public address"},
		{"allowed", open, Own{}, ""},
		{"own listener", open, listening(own), "a listener of Fanjet itself"},
		{"own listener on every address", open, listening(netip.AddrPortFrom(netip.IPv6Unspecified(), port)), "a listener of Fanjet itself"},
		{"own listener on another port", open, listening(netip.AddrPortFrom(own.Addr(), port^1)), ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			dialer := net.Dialer{Control: New(tt.policy, GuardOptions{Own: tt.own}).control}
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
	if err := New(open, GuardOptions{}).control("udp", "127.0.0.1:9000", nil); !errors.Is(err, ErrBlocked) {
		t.Errorf("control over udp = %v, want ErrBlocked", err)
	}
}
