package broker

import (
	"errors"
	"fmt"
	"net/url"
	"strings"
)

// servers lists the addresses to connect to; the server of this process has
// none.
func (s Settings) servers(own *Server) ([]string, error) {
	if own != nil {
		return nil, nil
	}
	if s.URL == "" {
		address, err := s.ownAddress()
		if err != nil {
			return nil, fmt.Errorf("nats.url is empty, and the embedded server of another process cannot be found: %w", err)
		}
		return []string{(&url.URL{Scheme: "nats", Host: address}).String()}, nil
	}
	var list []string
	for part := range strings.SplitSeq(s.URL, ",") {
		part = strings.TrimSpace(part)
		if part == "" {
			continue
		}
		if !strings.Contains(part, "://") {
			part = "nats://" + part
		}
		u, err := url.Parse(part)
		if err != nil || u.Hostname() == "" {
			// The text may hold a password and stays out of the message.
			return nil, errors.New("nats.url: not a list of servers such as nats://nats-1:4222,nats://nats-2:4222")
		}
		switch u.Scheme {
		case "nats", "tls", "ws", "wss":
		default:
			return nil, fmt.Errorf("nats.url: scheme %q of %s is not one of nats, tls, ws, wss", u.Scheme, u.Host)
		}
		list = append(list, part)
	}
	if len(list) == 0 {
		return nil, errors.New("nats.url: names no server")
	}
	return list, nil
}

// describeServers names the servers without the credentials that their URLs
// may hold.
func describeServers(servers []string) string {
	if len(servers) == 0 {
		return "this process"
	}
	hosts := make([]string, len(servers))
	for i, server := range servers {
		if u, err := url.Parse(server); err == nil {
			hosts[i] = u.Host
		}
	}
	return strings.Join(hosts, ", ")
}
