package config

import (
	"cmp"
	"net"
	"net/url"
	"strings"
)

// sameURL warns of endpoints, in a configuration that is otherwise right, that have
// one URL: each would get an event of both, and the receiver sees one webhook-id
// twice. The endpoints must still be in the order in which they are declared.
func (l *loader) sameURL() {
	if len(l.problems) > 0 {
		return
	}
	names := make(map[string][]string)
	for _, e := range l.cfg.Endpoints {
		if e.URL != nil && l.declared[e.Name] != nil {
			address := addressOf(e.URL)
			names[address] = append(names[address], e.Name)
		}
	}
	for _, same := range names {
		if len(same) < 2 {
			continue
		}
		first, more := same[0], ""
		if n := len(same) - 2; n == 1 {
			more = ", and so has " + same[2]
		} else if n > 1 {
			more = ", and so have " + same[2] + " and others"
		}
		l.warnf(l.declared[same[1]], "has the url of %s at %s%s: an event for both is sent there twice, with one webhook-id, and a receiver takes the second for a duplicate; give each a path or a query of its own",
			first, l.declared[first].place(), more)
	}
}

// addressOf is equal for URLs that requests to cannot be told apart.
func addressOf(u *url.URL) string {
	host, port := strings.TrimSuffix(strings.ToLower(u.Hostname()), "."), u.Port()
	if port == "" {
		port = map[string]string{"http": "80", "https": "443"}[u.Scheme]
	}
	return u.Scheme + "://" + net.JoinHostPort(host, port) + cmp.Or(u.EscapedPath(), "/") + "?" + u.RawQuery
}
