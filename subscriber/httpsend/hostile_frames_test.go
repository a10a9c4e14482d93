package httpsend

import (
	"bufio"
	"crypto/tls"
	"crypto/x509"
	"encoding/binary"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

// Frames of HTTP/2 (RFC 9113, 6).
const (
	frameData         = 0x0
	frameHeaders      = 0x1
	frameReset        = 0x3
	frameSettings     = 0x4
	framePing         = 0x6
	frameGoAway       = 0x7
	frameWindow       = 0x8
	frameContinuation = 0x9

	flagAck        = 0x1
	flagEndStream  = 0x1
	flagEndHeaders = 0x4
)

// Codes of errors (RFC 9113, 7).
const (
	codeNone     = 0x0
	codeProtocol = 0x1
	codeInternal = 0x2
	codeRefused  = 0x7
	codeCancel   = 0x8
)

// Heads of responses in HPACK (RFC 7541): one byte where the static table has
// the status.
var (
	head200 = []byte{0x88}
	head204 = []byte{0x89}
)

// literal is a field in HPACK that no table has, neither before nor after.
func literal(name, value string) []byte {
	integer := func(b []byte, n int) []byte { // with a prefix of 7 bits
		if n < 127 {
			return append(b, byte(n))
		}
		b = append(b, 127)
		for n -= 127; n >= 128; n /= 128 {
			b = append(b, byte(n%128|128))
		}
		return append(b, byte(n))
	}
	b := append(integer([]byte{0}, len(name)), name...)
	return append(integer(b, len(value)), value...)
}

// frames is the receiver's end of a connection that speaks HTTP/2.
type frames struct {
	net.Conn
	buffered *bufio.Reader
	of       *rawReceiver
	window   uint32 // that the client gives a new stream
}

// frame is one of them.
type frame struct {
	kind, flags byte
	stream      uint32
	payload     []byte
}

func (f *frames) read() (frame, error) {
	var head [9]byte
	if _, err := io.ReadFull(f.buffered, head[:]); err != nil {
		return frame{}, err
	}
	in := frame{kind: head[3], flags: head[4], stream: binary.BigEndian.Uint32(head[5:])}
	in.payload = make([]byte, int(head[0])<<16|int(head[1])<<8|int(head[2]))
	_, err := io.ReadFull(f.buffered, in.payload)
	if in.kind == frameSettings {
		for p := in.payload; len(p) >= 6; p = p[6:] {
			if binary.BigEndian.Uint16(p) == 4 {
				f.window = binary.BigEndian.Uint32(p[2:])
			}
		}
	}
	return in, err
}

func (f *frames) write(kind, flags byte, stream uint32, payload []byte) error {
	n := len(payload)
	b := binary.BigEndian.AppendUint32([]byte{byte(n >> 16), byte(n >> 8), byte(n), kind, flags}, stream)
	_, err := f.Write(append(b, payload...))
	return err
}

// request reads up to the end of a request, and returns its stream; 0 at the
// end of the connection. It answers pings.
func (f *frames) request() uint32 {
	for {
		in, err := f.read()
		if err != nil {
			return 0
		}
		if in.kind == framePing && in.flags&flagAck == 0 {
			_ = f.write(framePing, flagAck, 0, in.payload)
		}
		if (in.kind == frameData || in.kind == frameHeaders) && in.flags&flagEndStream != 0 {
			f.of.requests.Add(1)
			return in.stream
		}
	}
}

// answer answers a request, and that was all.
func (f *frames) answer(stream uint32, head []byte) {
	_ = f.write(frameHeaders, flagEndHeaders|flagEndStream, stream, head)
}

func (f *frames) reset(stream, code uint32) {
	_ = f.write(frameReset, 0, stream, binary.BigEndian.AppendUint32(nil, code))
}

// goAway says that no request after the stream last was looked at.
func (f *frames) goAway(last, code uint32, why string) {
	b := binary.BigEndian.AppendUint32(binary.BigEndian.AppendUint32(nil, last), code)
	_ = f.write(frameGoAway, 0, 0, append(b, why...))
}

// setting is one setting as a payload.
func setting(id uint16, value uint32) []byte {
	return binary.BigEndian.AppendUint32(binary.BigEndian.AppendUint16(nil, id), value)
}

// newFrameReceiver is a receiver that speaks HTTP/2, and a sender that trusts
// it. Each connection is served after its preface and settings, and closed when
// serve returns.
func newFrameReceiver(t *testing.T, settings []byte, serve func(*frames), change ...func(*Options)) (*rawReceiver, *Sender) {
	t.Helper()
	certificate, roots := testCertificate(t)
	config := &tls.Config{Certificates: []tls.Certificate{certificate}, NextProtos: []string{"h2"}}
	r := newRawReceiver(t, func(r *rawReceiver, raw net.Conn) {
		c := tls.Server(raw, config)
		f := &frames{Conn: c, buffered: bufio.NewReader(c), of: r}
		if _, err := io.ReadFull(f.buffered, make([]byte, len("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"))); err != nil {
			return
		}
		_ = f.write(frameSettings, 0, 0, settings)
		serve(f)
	})
	sender := testSender(t, strings.Replace(r.url(), "http:", "https:", 1), loopback, change...)
	trust(sender, roots)
	return r, sender
}

// testCertificate is a certificate for 127.0.0.1, and who trusts it.
func testCertificate(t *testing.T) (tls.Certificate, *x509.CertPool) {
	t.Helper()
	s := httptest.NewTLSServer(http.NotFoundHandler())
	s.Close()
	roots := x509.NewCertPool()
	roots.AddCert(s.Certificate())
	return s.TLS.Certificates[0], roots
}
