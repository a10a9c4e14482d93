package broker

import (
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"sync"

	"go.uber.org/zap"
	"golang.org/x/time/rate"
)

// serverLog passes what the embedded server reports on to the gateway's log:
// warnings and errors as they are, notices as debug messages. It keeps the
// last fatal error, on which NATS would end the process.
type serverLog struct {
	log    *zap.SugaredLogger
	faults *storeFaults

	mu        sync.Mutex
	lastFatal error
	limit     *rate.Limiter
	left      int // lines left out since the latest one
}

// logBurst is how many lines of the server are logged at once; then one a second is.
// Anybody who can connect can make the server report something, as often as he likes.
const logBurst = 20

func newServerLog(log *zap.Logger) *serverLog {
	return &serverLog{log: log.Named("nats").Sugar(), faults: newStoreFaults(), limit: rate.NewLimiter(1, logBurst)}
}

func (l *serverLog) Noticef(format string, v ...any) { l.log.Debugf(format, v...) }
func (l *serverLog) Debugf(string, ...any)           {}
func (l *serverLog) Tracef(string, ...any)           {}

// Warnf passes a warning on, but for what our own questions about its health
// make the server say.
func (l *serverLog) Warnf(format string, v ...any) {
	if strings.HasPrefix(format, "Healthcheck failed") {
		l.log.Debugf(format, v...)
		return
	}
	l.observe(format, v)
	l.limited(l.log.Warnf, format, v)
}

// observe looks for a word of a store that failed.
func (l *serverLog) observe(format string, v []any) {
	if err := storeFault(format, v); err != nil {
		l.faults.note(err)
	}
}

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

// Errorf passes an error on, unless it is none.
func (l *serverLog) Errorf(format string, v ...any) {
	if settledBatch(format, v) {
		l.log.Debugf(format, v...)
		return
	}
	l.observe(format, v)
	l.limited(l.log.Errorf, format, v)
}

// settledBatch recognizes what the server (2.15) takes, at its start, for the
// remains of an atomic batch that was being written when it died: the last message
// of a stream has the headers of a batch, and is not the one that ended it. A
// schedule that was published in a batch keeps those headers when it fires, so this
// is how a stream of retries often looks. The server then looks for the folder from
// which it would write the rest of the batch. It is removed when the batch has been
// written in full, and only then; that it is missing, which is what this error
// says, means that there is nothing to restore. The same words with another error
// are a failure.
func settledBatch(format string, v []any) bool {
	if !strings.Contains(format, "Failed restoring partial batch write") || len(v) == 0 {
		return false
	}
	err, ok := v[len(v)-1].(error)
	return ok && errors.Is(err, fs.ErrNotExist)
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
