package admin

import (
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptrace"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
)

// newEncrypted returns a listener with TLS, and the authority of its certificate.
func newEncrypted(t *testing.T) (*Server, *authority) {
	t.Helper()
	ca, files := newAuthority(t), TLS{filepath.Join(t.TempDir(), "crt"), filepath.Join(t.TempDir(), "key")}
	ca.issue(files, 100)
	return newServer(t, Settings{Listen: "127.0.0.1:0", TLS: files}), ca
}

// Handlers see TLS as with a listener of net/http; requests share a connection, which
// is not idle while one is answered.
func TestEncrypted(t *testing.T) {
	t.Parallel()
	s, ca := newEncrypted(t)
	s.http.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		defer answering(r)()
		c, _ := r.Context().Value(connectionKey{}).(*connection)
		if c == nil || r.TLS == nil {
			t.Error("a request does not know its connection, or its TLS")
			return
		}
		body, err := io.ReadAll(r.Body)
		if err != nil {
			t.Error(err)
		}
		fmt.Fprint(w, r.Proto, " ", r.TLS.HandshakeComplete, " ", r.TLS.NegotiatedProtocol, " ", c.requests, " ", len(body))
	})
	url := serve(t, s)
	transport := ca.trust()
	transport.ForceAttemptHTTP2 = true // which is not spoken
	defer transport.CloseIdleConnections()
	body := strings.Repeat("a body of more than one record", 1000)
	for i := range 3 {
		reused := false
		ctx := httptrace.WithClientTrace(t.Context(), &httptrace.ClientTrace{GotConn: func(c httptrace.GotConnInfo) { reused = c.Reused }})
		r, err := http.NewRequestWithContext(ctx, http.MethodPost, url, strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		if i == 1 {
			r.ContentLength = -1 // in chunks
		}
		resp, err := transport.RoundTrip(r)
		if err != nil {
			t.Fatal(err)
		}
		text, err := io.ReadAll(resp.Body)
		resp.Body.Close()
		if want := fmt.Sprint("HTTP/1.1 true http/1.1 1 ", len(body)); err != nil || string(text) != want {
			t.Errorf("request %d: %q, %v; want %q", i, text, err, want)
		}
		if reused != (i > 0) {
			t.Errorf("request %d: a connection that was used before: %v", i, reused)
		}
	}
}

// A client that speaks only HTTP/2 hears in the handshake that it cannot.
func TestNoHTTP2(t *testing.T) {
	t.Parallel()
	s, ca := newEncrypted(t)
	serve(t, s)
	config := ca.trust().TLSClientConfig
	config.NextProtos = []string{"h2"}
	conn, err := tls.Dial("tcp", s.Addr(), config)
	if err == nil {
		_ = conn.Close()
	}
	if err == nil || !strings.Contains(err.Error(), "no application protocol") {
		t.Errorf("%v, want the alert that says so", err)
	}
}

// Whoever begins no handshake is cut off.
func TestHandshakeIsBounded(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		client, server := net.Pipe()
		defer client.Close()
		c := &encryptedConn{Conn: tls.Server(server, &tls.Config{}), log: log.New(io.Discard, "", 0)}
		defer func() { _ = c.Close() }()
		if c.ConnectionState().HandshakeComplete {
			t.Error("there was a handshake")
		}
		if _, err := client.Read(make([]byte, 1)); !errors.Is(err, io.EOF) {
			t.Errorf("the connection is not closed: %v", err)
		}
		if _, err := c.Read(make([]byte, 1)); err == nil {
			t.Error("it can be read")
		}
	})
}
