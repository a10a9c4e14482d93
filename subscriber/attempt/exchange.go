package attempt

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

// exchange is one attempt on its way: the request, and what its tries learned.
//
// It is the context of its own request. go-retryablehttp and http.Client see a
// request that is a shell; [transport] finds the exchange behind it and writes
// header and body from here, without the copies that http.Client makes in case
// of a redirect. It is used by one goroutine, and again for later attempts.
type exchange struct {
	context.Context // the attempt's; ends only when it is interrupted

	preamble *preamble
	fields   []field   // the headers that are of this attempt only
	body     []byte    // of the request
	deadline time.Time // of the attempt until it is decided, then of reading the rest

	request retryablehttp.Request // the shell, for go-retryablehttp
	shell   *http.Request

	tries    int
	sends    int      // how often the request was sent
	untaken  int      // tries after which the request was not taken
	why      string   // there is another try
	resent   []string // why it was sent again, each time
	reused   bool     // the latest try was made on a connection that was kept alive
	answered bool     // a byte of the response came to the latest try
	told     told     // by the header of the response, if it is a failure

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
func newExchange() *exchange {
	x := &exchange{reader: bufio.NewReaderSize(nil, readBuffer)}
	x.answer.x = x
	x.shell = (&http.Request{
		Method: http.MethodPost, Header: http.Header{}, Body: http.NoBody,
		Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
	}).WithContext(x)
	return x
}

// set adds a header.
func (x *exchange) set(name, value string) { x.fields = append(x.fields, field{name, value}) }

// value is that of a header which was set; empty: it was not.
func (x *exchange) value(name string) string {
	for _, f := range x.fields {
		if f.name == name {
			return f.value
		}
	}
	return ""
}

// check refuses values that would not stay in their line. They come from
// stored events.
func (x *exchange) check() error {
	for _, f := range x.fields {
		if !validValue(f.value) {
			return fmt.Errorf("the value of the header %s is not valid", f.name)
		}
	}
	return nil
}

// limit sets the time at which the exchange is given up.
func (x *exchange) limit(deadline time.Time) {
	x.deadline = deadline
	if x.conn != nil {
		_ = x.conn.SetDeadline(deadline)
	}
}

// expired reports whether the time is up.
func (x *exchange) expired() bool { return !time.Now().Before(x.deadline) }
