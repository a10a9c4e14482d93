package httpsend

import (
	"bufio"
	"context"
	"fmt"
	"net/http"
	"time"

	"github.com/hashicorp/go-retryablehttp"
)

const (
	// readBuffer is the buffer for responses, in bytes; larger heads and bodies
	// pass through it.
	readBuffer = 4 << 10
	// maxKeptBuffer is the largest other buffer that is kept for the next
	// attempt, in bytes.
	maxKeptBuffer = 64 << 10
)

// Exchange is one request on its way: its header and body, and what its tries learned.
// It is begun by [Sender.Begin] and used by one goroutine, up to [Sender.Finish].
//
// It is the context of its own request. go-retryablehttp and http.Client see a
// request that is a shell; the transport finds the exchange behind it and writes
// header and body from here, without the copies that http.Client makes in case
// of a redirect. It is used again for later requests.
type Exchange struct {
	context.Context // of who sends it; ends only when it is interrupted

	preamble *preamble
	fields   []field   // the headers that are of this request only
	body     []byte    // of the request
	deadline time.Time // of the head of the response, then of reading the rest

	request retryablehttp.Request // the shell, for go-retryablehttp
	shell   *http.Request

	tries    int
	sends    int      // how often the request was sent
	untaken  int      // tries after which the request was not taken
	why      string   // there is another try
	resent   []string // why it was sent again, each time
	reused   bool     // the latest try was made on a connection that was kept alive
	answered bool     // a byte of the response came to the latest try
	told     Told     // by the header of the response, if it is a failure

	// Of a try over HTTP/1.1, see http1.go. conn is nil when the exchange does
	// not hold a connection, or not any more.
	idle     *idleConns
	conn     *conn
	reader   *bufio.Reader
	out      []byte     // what is written: the head, and a body that is not large
	in       []byte     // head of the response
	wrote    chan error // how the goroutine that writes a large body fared; nil: there is none
	response http.Response
	answer   answer

	// Of a try over HTTP/2, see http2.go.
	overHTTP2 bool
	sent      int // bytes of the body that were written
}

// field is a line of a header.
type field struct{ name, value string }

// newExchange returns an exchange for the pool of an endpoint.
func newExchange() *Exchange {
	x := &Exchange{reader: bufio.NewReaderSize(nil, readBuffer)}
	x.answer.x = x
	x.shell = (&http.Request{
		Method: http.MethodPost, Header: http.Header{}, Body: http.NoBody,
		Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
	}).WithContext(x)
	return x
}

// Set adds a header, after those of every request and in the order of the calls. A name
// that was set already is there twice. Do fails with a value that is not [ValidValue].
func (x *Exchange) Set(name, value string) { x.fields = append(x.fields, field{name, value}) }

// Get is the value of a header which was set; empty: it was not.
func (x *Exchange) Get(name string) string {
	for _, f := range x.fields {
		if f.name == name {
			return f.value
		}
	}
	return ""
}

// Told is what the header of the response says about a failure.
func (x *Exchange) Told() Told { return x.told }

// Resent is why the request was sent again, each time.
func (x *Exchange) Resent() []string { return x.resent }

// Head is the head of the request as it goes over HTTP/1.1, for who looks at what is
// sent. The error says that it is not, since a value would not stay in its line.
func (x *Exchange) Head() ([]byte, error) {
	if err := x.check(); err != nil {
		return nil, err
	}
	return x.appendRequest(nil), nil
}

// check refuses values that would not stay in their line. They come from
// stored events.
func (x *Exchange) check() error {
	for _, f := range x.fields {
		if !ValidValue(f.value) {
			return fmt.Errorf("the value of the header %s is not valid", f.name)
		}
	}
	return nil
}

// limit sets the time at which the exchange is given up.
func (x *Exchange) limit(deadline time.Time) {
	x.deadline = deadline
	if x.conn != nil {
		_ = x.conn.SetDeadline(deadline)
	}
}

// expired reports whether the time is up.
func (x *Exchange) expired() bool { return !time.Now().Before(x.deadline) }
