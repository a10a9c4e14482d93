package broker

import (
	"net"
	"net/url"
	"strings"
)

// defaultPort is where NATS servers listen when a URL has no port.
const defaultPort = "4222"

// Addresses returns host:port of each server in a list such as that of nats.url.
// What cannot be read is left out, and so are WebSockets, whose servers often
// share an address with others and take no request that is not for them.
func Addresses(list string) []string {
	var out []string
	for server := range strings.SplitSeq(list, ",") {
		server = strings.TrimSpace(server)
		if !strings.Contains(server, "://") {
			server = "nats://" + server
		}
		u, err := url.Parse(server)
		if err != nil || u.Hostname() == "" || u.Scheme != "nats" && u.Scheme != "tls" {
			continue
		}
		port := u.Port()
		if port == "" {
			port = defaultPort
		}
		out = append(out, net.JoinHostPort(u.Hostname(), port))
	}
	return out
}
