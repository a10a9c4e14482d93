package main

import (
	"net/http"
	"strings"
	"time"
)

// dripEvery is how often a receiver that drips sends a byte.
const dripEvery = 200 * time.Millisecond

// slowAnswer is how long a receiver that cannot keep up takes.
const slowAnswer = 3 * time.Second

// dripAnswer sends a response whose headers never end, one byte at a time,
// until the client gives up.
func dripAnswer(w http.ResponseWriter) {
	conn, _, err := http.NewResponseController(w).Hijack()
	if err != nil {
		return
	}
	defer conn.Close()
	answer := "HTTP/1.1 200 OK\r\nX-Pad: " + strings.Repeat("a", 10_000)
	tick := time.NewTicker(dripEvery)
	defer tick.Stop()
	for i := range answer {
		if _, err := conn.Write([]byte{answer[i]}); err != nil {
			return
		}
		<-tick.C
	}
}

// dripBody answers 200 at once and sends the body one byte at a time, until the
// client gives up.
func dripBody(w http.ResponseWriter, r *http.Request) {
	flush := http.NewResponseController(w).Flush
	tick := time.NewTicker(dripEvery)
	defer tick.Stop()
	for {
		if _, err := w.Write([]byte("a")); err != nil || flush() != nil {
			return
		}
		select {
		case <-tick.C:
		case <-r.Context().Done():
			return
		}
	}
}
