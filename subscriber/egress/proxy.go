package egress

import (
	"bufio"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"syscall"
	"time"

	"fanjet/subscriber/quiet"
)

// maxProxyAnswer bounds what is read of the proxy's answer to CONNECT, in bytes.
const maxProxyAnswer = 16 << 10

// proxy connects in our place: it is asked by CONNECT (RFC 9110, section 9.3.6)
// for addresses, never for names, so that it reaches what was checked here.
type proxy struct {
	Proxy
	lookup func(ctx context.Context, host string) ([]netip.Addr, error)
	dialer net.Dialer // no policy: the operator named the proxy
	tls    *tls.Config
}

func newProxy(settings Proxy, roots *x509.CertPool, lookup func(context.Context, string) ([]netip.Addr, error)) *proxy {
	return &proxy{
		Proxy: settings, lookup: lookup,
		dialer: net.Dialer{KeepAlive: 30 * time.Second},
		tls:    &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: roots, ServerName: settings.URL.Hostname(), NextProtos: []string{"http/1.1"}},
	}
}

// addrs returns where the proxy is.
func (p *proxy) addrs(ctx context.Context) ([]netip.AddrPort, error) {
	port, err := portOf(p.URL)
	if err != nil {
		return nil, err
	}
	ips, err := p.lookup(ctx, p.URL.Hostname())
	if err != nil {
		return nil, &proxyError{"cannot be found", err}
	}
	addrs := make([]netip.AddrPort, len(ips))
	for i, ip := range ips {
		addrs[i] = netip.AddrPortFrom(ip, port)
	}
	return addrs, nil
}

// dial has the proxy connect to one of some addresses, one after the other.
func (p *proxy) dial(ctx context.Context, to []netip.AddrPort) (net.Conn, error) {
	var first error
	for _, addr := range to {
		conn, err := p.connect(ctx, addr)
		if err == nil {
			return conn, nil
		}
		if first == nil {
			first = err
		}
		if !errors.As(err, new(*refusal)) || ctx.Err() != nil {
			break // another address changes nothing
		}
	}
	return nil, first
}

// connect has the proxy connect to an address.
func (p *proxy) connect(ctx context.Context, to netip.AddrPort) (net.Conn, error) {
	at, err := p.addrs(ctx)
	if err != nil {
		return nil, err
	}
	conn, err := dialAny(ctx, at, func(ctx context.Context, addr netip.AddrPort) (net.Conn, error) {
		return p.dialer.DialContext(ctx, "tcp", addr.String())
	})
	if err != nil {
		return nil, &proxyError{"cannot be reached", err}
	}
	// The end of ctx closes it: neither handshake nor answer may take longer.
	stop := context.AfterFunc(ctx, func() { _ = conn.Close() })
	tunnel, err := p.ask(ctx, conn, to)
	if !stop() && err == nil {
		err = &proxyError{"does not answer", context.Cause(ctx)}
	}
	if err != nil {
		_ = conn.Close()
		return nil, err
	}
	return tunnel, nil
}

// ask speaks with the proxy over a connection to it.
func (p *proxy) ask(ctx context.Context, conn net.Conn, to netip.AddrPort) (net.Conn, error) {
	if p.URL.Scheme == "https" {
		secure := tls.Client(&quiet.RecordConn{Conn: conn}, p.tls)
		if err := secure.HandshakeContext(ctx); err != nil {
			return nil, &proxyError{"and the TLS handshake with it failed", err}
		}
		conn = secure
	}
	if _, err := io.WriteString(conn, p.request(to)); err != nil {
		return nil, &proxyError{"takes no request", err}
	}
	limited := &io.LimitedReader{R: conn, N: maxProxyAnswer}
	reader := bufio.NewReader(limited)
	resp, err := http.ReadResponse(reader, &http.Request{Method: http.MethodConnect}) //nolint:bodyclose // what follows is the connection
	switch {
	case err != nil && ctx.Err() != nil:
		return nil, &proxyError{"does not answer", context.Cause(ctx)}
	case err != nil && limited.N == 0:
		return nil, &proxyError{"does not answer CONNECT as it should", fmt.Errorf("the answer is longer than %d bytes", maxProxyAnswer)}
	case err != nil:
		return nil, &proxyError{"does not answer CONNECT as it should", err}
	case resp.StatusCode/100 != 2:
		return nil, &proxyError{"does not connect to " + to.String(), &refusal{resp.StatusCode, p.Username != ""}}
	case reader.Buffered() > 0, !isQuiet(conn):
		return nil, &proxyError{"does not answer CONNECT as it should", errors.New("something follows the answer")}
	}
	return conn, conn.SetReadDeadline(time.Time{}) // which the look left
}

// request is the head of a CONNECT.
func (p *proxy) request(to netip.AddrPort) string {
	credentials := ""
	if p.Username != "" {
		credentials = "Proxy-Authorization: Basic " + base64.StdEncoding.EncodeToString([]byte(p.Username+":"+p.Password.Reveal())) + "\r\n"
	}
	return fmt.Sprintf("CONNECT %s HTTP/1.1\r\nHost: %[1]s\r\n%s\r\n", to, credentials)
}

// refusal is an answer of the proxy other than 2xx.
type refusal struct {
	status int
	named  bool // it got a user and password
}

func (r *refusal) Error() string {
	switch {
	case r.status == http.StatusProxyAuthRequired && r.named:
		return "it does not accept the username and password (407)"
	case r.status == http.StatusProxyAuthRequired:
		return "it asks for a user (407): set egress.proxy.username and password"
	case r.status == http.StatusForbidden:
		return "its rules forbid it (403)"
	default:
		return fmt.Sprintf("it answered %d %s", r.status, http.StatusText(r.status))
	}
}

// proxyError says that the proxy is why there is no connection. It hides what is
// behind it: a timeout, a name or a certificate of the proxy is not one of the
// endpoint. It is of [ClassConnect], unless this machine has no more file
// descriptors.
type proxyError struct {
	what string
	err  error
}

func (e *proxyError) Error() string {
	return "the proxy of egress.proxy " + e.what + ": " + e.err.Error()
}

// Is implements the interface of [errors.Is].
func (e *proxyError) Is(target error) bool {
	return (target == syscall.EMFILE || target == syscall.ENFILE) && errors.Is(e.err, target)
}

// As implements the interface of [errors.As].
func (e *proxyError) As(target any) bool {
	r, ok := target.(**refusal)
	return ok && errors.As(e.err, r)
}

// isQuiet reports whether nothing was sent that nobody asked for.
func isQuiet(c net.Conn) bool {
	var look quiet.Look
	look.Begin(c)
	return look.Quiet()
}
