package broker

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"syscall"

	"github.com/nats-io/nats-server/v2/server"
)

// A stream whose store failed once takes nothing any more, nor lets anything go:
// the server (2.15) keeps the first error of a write and returns it for every
// later one, until it is started again, also when there is room again. It answers
// no publish then, and its clients cannot tell. It says so in two places: in its
// log, at once, and in its health check, once somebody has published.

// storeFaults keeps the first error of a store, by what the server logs.
type storeFaults struct {
	mu    sync.Mutex
	first error
	heard chan struct{} // has room for one: first was set
}

func newStoreFaults() *storeFaults { return &storeFaults{heard: make(chan struct{}, 1)} }

// note hears an error of a store. It is called while the server holds its locks,
// so it does not block.
func (f *storeFaults) note(err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.first == nil {
		f.first = err
	}
	select {
	case f.heard <- struct{}{}:
	default:
	}
}

func (f *storeFaults) get() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.first
}

// storeFault reads a line of the server's log: what a store or a stream that
// failed says, and a server that gives its streams up.
func storeFault(format string, v []any) error {
	text := fmt.Sprintf(format, v...)
	for _, part := range []string{
		"ritical write error", // "Filestore [EVENTS] Critical …", "JetStream stream … critical …"
		"failed to store a msg",
		"resources, will be DISABLED",
		"denied while writing msg, disabling JetStream",
	} {
		if strings.Contains(text, part) {
			return &loggedFault{text: text, cause: causeIn(text, v)}
		}
	}
	return nil
}

// causes are errors of the operating system that a fault of a store comes from.
// The server formats some lines before it hands them on, so that only the text is
// left.
var causes = [...]syscall.Errno{
	syscall.ENOSPC, syscall.EDQUOT, syscall.EFBIG, syscall.EMFILE, syscall.ENFILE, syscall.EROFS, syscall.EACCES, syscall.EPERM, syscall.EIO,
}

func causeIn(text string, v []any) error {
	for _, arg := range v {
		if err, ok := arg.(error); ok {
			return err
		}
	}
	for _, errno := range causes {
		if strings.Contains(text, errno.Error()) {
			return errno
		}
	}
	return nil
}

// loggedFault is a line of the server's log with the error that it tells of.
type loggedFault struct {
	text  string
	cause error // may be nil
}

func (f *loggedFault) Error() string { return f.text }
func (f *loggedFault) Unwrap() error { return f.cause }

// unhealthy asks a server for its health. The server offers that only as an HTTP
// handler, which needs no listener.
func unhealthy(srv *server.Server) error {
	var answer answerBuffer
	srv.HandleHealthz(&answer, &http.Request{Method: http.MethodGet, URL: &url.URL{Path: server.HealthzPath, RawQuery: "details=true"}})
	var health struct {
		Errors []struct {
			Error string `json:"error"`
		} `json:"errors"`
	}
	if err := json.Unmarshal(answer.body.Bytes(), &health); err != nil {
		return nil // it says nothing about the store
	}
	var errs []error
	for _, e := range health.Errors {
		errs = append(errs, &loggedFault{text: e.Error, cause: causeIn(e.Error, nil)})
	}
	return errors.Join(errs...)
}

// answerBuffer takes the answer of a handler.
type answerBuffer struct {
	header http.Header
	body   bytes.Buffer
}

func (a *answerBuffer) Header() http.Header {
	if a.header == nil {
		a.header = make(http.Header)
	}
	return a.header
}

func (a *answerBuffer) Write(p []byte) (int, error) { return a.body.Write(p) }
func (*answerBuffer) WriteHeader(int)               {}
