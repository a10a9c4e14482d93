package broker

import (
	"fmt"
	"sync"

	"go.uber.org/zap"
)

// serverLog passes what the embedded server reports on to the gateway's log:
// warnings and errors as they are, notices as debug messages. It keeps the
// last fatal error, on which NATS would end the process.
type serverLog struct {
	log *zap.SugaredLogger

	mu        sync.Mutex
	lastFatal error
}

func newServerLog(log *zap.Logger) *serverLog {
	return &serverLog{log: log.Named("nats").Sugar()}
}

func (l *serverLog) Noticef(format string, v ...any) { l.log.Debugf(format, v...) }
func (l *serverLog) Warnf(format string, v ...any)   { l.log.Warnf(format, v...) }
func (l *serverLog) Errorf(format string, v ...any)  { l.log.Errorf(format, v...) }
func (l *serverLog) Debugf(string, ...any)           {}
func (l *serverLog) Tracef(string, ...any)           {}

// Fatalf keeps the error for [serverLog.fatal] and returns: the caller decides
// what becomes of the process.
func (l *serverLog) Fatalf(format string, v ...any) {
	err := &fatalError{text: fmt.Sprintf(format, v...)}
	for _, arg := range v {
		if cause, ok := arg.(error); ok {
			err.cause = cause
		}
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.lastFatal = err
}

// fatal is the last fatal error, or nil.
func (l *serverLog) fatal() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.lastFatal
}

// fatalError is the server's own text with the error that it was made from.
type fatalError struct {
	text  string
	cause error
}

func (e *fatalError) Error() string { return e.text }
func (e *fatalError) Unwrap() error { return e.cause }
