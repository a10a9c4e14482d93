// Package attempt makes one attempt to deliver an event: the signed request, its exchange
// over HTTP/1.1 or HTTP/2, and what the answer says in one line.
//
// A [Target] is one endpoint with its connections. What is sent again within an attempt is
// decided here (resend.go), never by net/http, which would repeat requests on its own.
//
// # Why net/http is not in between
//
// It wakes two goroutines for each request, and http.Client copies all headers in case of a
// redirect: half of the CPU of an attempt. Over HTTP/2 it sends a request again by itself, and
// one without a body more than a thousand times in one attempt when its stream is reset with
// PROTOCOL_ERROR, which says nothing about whether it was processed. So the exchange is ours,
// over HTTP/1.1 and HTTP/2 (http1*.go, http2*.go), in the goroutine of the attempt: frames and
// headers of HTTP/2 are read by x/net/http2, what is done about them is ours.
// go-retryablehttp repeats, by the one rule that we give it (again in resend.go).
//
// # What is sent again within an attempt
//
// Over HTTP/1.1 a request over a connection that was kept alive, if no byte of an answer
// came, once. Over HTTP/2 what the protocol says was not processed, five times at most:
// nothing that was answered, if only with 1xx.
//
// # Connections
//
// A connection has no goroutine: the attempt reads it. What renews connections or reads the
// rest of a response ends within 20 seconds, or with the process; there are no more of them
// than slots.
//
//   - One that was kept alive may be closed by now, or hold bytes that nobody asked for.
//     Package quiet looks before it is used: in the socket, at what each layer of TLS has
//     decrypted (through a proxy there may be two), and for a record that was read in part.
//   - Of connections that a peer forgot without a word each would cost a timeout. The first
//     timeout over a connection that was kept closes the idle ones (http1.go).
//   - One that is never idle is never closed. When it is old another one is made beside it,
//     which takes its place (age.go).
//   - A certificate that a client would have sent is not sent when a TLS session is resumed.
//     So sessions belong to a transport, and a transport to its settings (sessions.go).
//   - A connection of HTTP/2 carries one request at a time, and what came over it is read
//     before it is used again. Who breaks a connection breaks all requests on it, and at a
//     graceful restart Apache (2.4.71) and lighttpd (1.4.69) break one with requests in flight
//     as soon as a new one crosses their farewell. A request that crosses a farewell when it
//     is alone is above its last stream, breaks nothing, and is sent again. Six real servers,
//     reloaded ten times under load, cost no attempt (`make servers`).
//   - HPACK with a table is a state that both ends must share. Requests use none: what is the
//     same in all of an endpoint's is put together once, and no header, which may be a
//     credential, is indexed on the way.
//   - A transport whose egress policy is gone sends nothing more.
//
// # Bodies and responses
//
//   - A receiver may answer without reading a large body. One above 32 KiB is written by a
//     goroutine of its own while the answer is awaited (http1.go).
//   - Who reads a response otherwise than its sender takes the rest of it for the next
//     answer. FuzzResponse compares with net/http: a connection is kept only if both agree on
//     where the response ends, and nothing is behind it.
//   - A response may decide an attempt and never end. What is left of it is read aside
//     (linger.go), by a goroutine that holds its connection and not its slot.
//   - Errors repeat what a receiver sent, and the names in its certificate; answers say why it
//     refused, and some repeat the request. outcome.Result.Failure is the one text for logs,
//     letters and operators: without what is confidential (hide.go, hide_event.go), and
//     through outcome.Plain. The body of a failure is only looked at, not read (excerpt.go),
//     so that its connection is as good as after a success.
//
// # What is not the receiver's fault
//
//   - A timer that fires because the process was stopped says nothing about the receiver.
//     awake.go notes how long the process stood still; late.go looks at the socket when the
//     time is up. CLOCK_MONOTONIC stands on a suspended machine, so the time of day is
//     compared with it.
//   - A resolver without file descriptors says that there is no such name. After a failure of
//     DNS an attempt looks whether there are any (attempt.go).
package attempt
