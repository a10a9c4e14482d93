package httpsend

import (
	"context"
	"crypto/tls"
	"net/url"
	"time"

	"fanjet/subscriber/egress"
	"fanjet/subscriber/outcome"
)

// Probe is how far an exchange would get, up to the request.
type Probe struct {
	Verdicts []egress.Verdict // of the egress policy, for each address of the name
	// Class and Failure say why there is no connection; empty: there was one.
	Class   outcome.Class
	Failure string
	// What was agreed on; empty for http.
	TLS string
	// The time that the receiver's certificate is valid; zero for http.
	NotBefore, NotAfter time.Time
}

// ProbeURL resolves the host of an endpoint's URL, judges its addresses, connects,
// and shakes hands if that is https; then it closes the connection. No request
// is made. It ends when ctx does, and takes 20 s at most besides what the
// resolver takes.
func ProbeURL(ctx context.Context, g *egress.Guard, target *url.URL) Probe {
	return newTransport(1, g).probe(ctx, target)
}

func (t *transport) probe(ctx context.Context, target *url.URL) Probe {
	var p Probe
	fail := func(err error) Probe {
		r := outcome.Result{Class: outcome.ClassOf(err), Err: err}
		p.Class, p.Failure = r.Class, r.Failure()
		return p
	}
	var err error
	if p.Verdicts, err = t.guard.Judge(ctx, target); err != nil {
		return fail(err)
	}
	raw, err := t.guard.Dial(ctx, egress.AddressOf(target), target.Scheme == "https")
	if err != nil {
		return fail(err)
	}
	defer func() { _ = raw.Close() }()
	if target.Scheme == "http" {
		return p
	}
	secure, _, err := t.handshake(ctx, raw, target.Hostname())
	if err != nil {
		return fail(err)
	}
	defer func() { _ = secure.Close() }()
	state := secure.ConnectionState()
	leaf := state.PeerCertificates[0] // clients verify that there is one
	p.TLS, p.NotBefore, p.NotAfter = tls.VersionName(state.Version), leaf.NotBefore, leaf.NotAfter
	return p
}
