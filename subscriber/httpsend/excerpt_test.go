package httpsend

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
)

// What was looked at is read again, so the connection is kept, and the next
// answer is the next one.
func TestExcerptLeavesTheAnswer(t *testing.T) {
	t.Parallel()
	for _, http2 := range []bool{false, true} {
		n := 0
		s, roots, connections := secureReceiver(t, http2, func(w http.ResponseWriter, _ *http.Request) {
			n++
			w.WriteHeader(500)
			_, _ = fmt.Fprintf(w, "answer %d", n)
			if n%2 == 0 {
				w.(http.Flusher).Flush()
			}
			_, _ = io.WriteString(w, strings.Repeat(" and more", 100*(n%7)*(n%7)))
		})
		sender := testSender(t, s.URL, loopback)
		sender.transport.tls.RootCAs = roots
		for i := 1; i <= 20; i++ {
			if got, want := try(t.Context(), sender, nil).Told, fmt.Sprintf("answer %d", i); got != want && !strings.HasPrefix(got, want+" and more") {
				t.Errorf("%q, want %q", got, want)
			}
		}
		if connections.Load() != 1 {
			t.Errorf("HTTP/2 %v: %d connections", http2, connections.Load())
		}
	}
}
