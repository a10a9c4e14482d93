package webhook

import "net/http"

// statusRecorder notes the final status that a handler answers with.
type statusRecorder struct {
	http.ResponseWriter
	status int // 0: nothing written yet
}

// succeeded reports whether the answer is 2xx. A handler that writes nothing
// has answered 200.
func (r *statusRecorder) succeeded() bool {
	return r.status == 0 || r.status >= 200 && r.status <= 299
}

// WriteHeader implements [http.ResponseWriter]. The first final status counts;
// 1xx may come before it.
func (r *statusRecorder) WriteHeader(status int) {
	if status >= 200 || status == http.StatusSwitchingProtocols {
		r.note(status)
	}
	r.ResponseWriter.WriteHeader(status)
}

// Write implements [http.ResponseWriter].
func (r *statusRecorder) Write(b []byte) (int, error) {
	r.note(http.StatusOK)
	return r.ResponseWriter.Write(b)
}

// FlushError is what [http.ResponseController] looks for. A flush sends the
// status.
func (r *statusRecorder) FlushError() error {
	r.note(http.StatusOK)
	return http.NewResponseController(r.ResponseWriter).Flush()
}

// Flush implements [http.Flusher].
func (r *statusRecorder) Flush() { _ = r.FlushError() }

// Unwrap is what [http.ResponseController] looks for to do the rest.
func (r *statusRecorder) Unwrap() http.ResponseWriter { return r.ResponseWriter }

func (r *statusRecorder) note(status int) {
	if r.status == 0 {
		r.status = status
	}
}
