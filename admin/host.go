package admin

import (
	"net"
	"net/netip"
	"strconv"
	"strings"
)

// hostName takes a Host header apart (RFC 9110, section 7.2; RFC 3986, section
// 3.2.2): a name or an IPv4 address, or an IPv6 address in brackets, and perhaps a
// port. What is none of these has no host. It reports whether there can be such a
// port; which one it is is not looked at further, as a tunnel may listen on another.
func hostName(header string) (host string, ok bool) {
	host, rest := header, ""
	if inner, bracket := strings.CutPrefix(header, "["); bracket {
		var closed bool
		host, rest, closed = strings.Cut(inner, "]")
		if addr, err := netip.ParseAddr(host); !closed || err != nil || !addr.Is6() || addr.Zone() != "" {
			return "", true
		}
	} else if i := strings.IndexByte(header, ':'); i >= 0 {
		host, rest = header[:i], header[i:]
	}
	port, given := strings.CutPrefix(rest, ":")
	if rest != "" && !given || strings.Contains(port, ":") {
		return "", true
	}
	return host, possiblePort(port)
}

// possiblePort knows ports from 1 to 65535, in digits, and none at all.
func possiblePort(port string) bool {
	for i := range len(port) {
		if port[i] < '0' || port[i] > '9' {
			return false
		}
	}
	n, err := strconv.ParseUint(port, 10, 16)
	return port == "" || err == nil && n > 0
}

// answersFor reports whether the host of a Host header is this machine itself, or
// one of the hosts of the settings.
func (s *Server) answersFor(host string) bool {
	if strings.EqualFold(host, "localhost") || s.access.Load().hosts[strings.ToLower(host)] {
		return true
	}
	ip := net.ParseIP(host)
	return ip != nil && ip.IsLoopback()
}
