package broker

import (
	"fmt"
	"sync"

	"go.uber.org/zap"
	"golang.org/x/time/rate"
)

// serverLog passes what the embedded server reports on to the gateway's log:
// warnings and errors as they are, notices as debug messages. It keeps the
// last fatal error, on which NATS would end the process.
type serverLog struct {
	log *zap.SugaredLogger

	mu        sync.Mutex
	lastFatal error
	limit     *rate.Limiter
	left      int // lines left out since the latest one
}

// Anybody who can connect can make the server report something, as often as he
// likes: so many lines at once are logged, and then one a second.
const logBurst = 20

func newServerLog(log *zap.Logger) *serverLog {
	return &serverLog{log: log.Named("nats").Sugar(), limit: rate.NewLimiter(1, logBurst)}
}

func (l *serverLog) Noticef(format string, v ...any) { l.log.Debugf(format, v...) }
func (l *serverLog) Warnf(format string, v ...any)   { l.limited(l.log.Warnf, format, v) }
func (l *serverLog) Errorf(format string, v ...any)  { l.limited(l.log.Errorf, format, v) }
func (l *serverLog) Debugf(string, ...any)           {}
func (l *serverLog) Tracef(string, ...any)           {}

// limited logs a line, unless there are too many.
func (l *serverLog) limited(log func(string, ...any), format string, v []any) {
	l.mu.Lock()
	if !l.limit.Allow() {
		l.left++
		l.mu.Unlock()
		return
	}
	left := l.left
	l.left = 0
	l.mu.Unlock()
	if left > 0 {
		format += fmt.Sprintf(" (and %d lines before were left out)", left)
	}
	log(format, v...)
}

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
